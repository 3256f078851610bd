"""How reference models and phantoms are told from everything else: the UID root, the label, and the limits."""

from __future__ import annotations

from models.contract import Source

PHANTOM_UID_ROOT = "2.25.255785889998118811702907268431020342062."
"""A random UUID as an OID arc (ITU-T X.667, PS3.5 B.2), whose children only our phantom generator hands out."""

LABEL_EN = "Reference model trained on computer-drawn phantoms. Not for clinical use."
LABEL_VI = "Mô hình tham chiếu huấn luyện trên ảnh mô phỏng máy tính. Không dùng cho lâm sàng."

NOT_FOR = "Any use on a patient: it has seen drawings only, and its scores on patients mean nothing."

LIMITS = (
    "Trained and tested on drawings of one generator: its figures are an upper bound that says nothing about patients.",
    "Loses accuracy on drawings with other noise, other anatomy or other lesions; the evidence gives the drop.",
    "Moves a reading list only for studies whose instances all lie below the phantom UID root; no setting changes it.",
)

SOURCE = Source(
    code="models/networks.py and models/steps.py of Rọi",
    code_licence="Apache-2.0",
    weights="trained by models/reference on computer-drawn phantoms",
    weights_licence="Apache-2.0",
)
