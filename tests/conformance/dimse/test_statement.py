"""The conformance statement says what the code does: its tables are compared with the records they describe.

``python -m tests.conformance.dimse.test_statement`` writes them anew.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pacs_gateway import status
from pacs_gateway.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from pacs_gateway.limits import Limits
from pacs_gateway.sop_classes import REFUSED_TRANSFER_SYNTAXES, RETIRED_STORAGE, YOUNGER_STORAGE

STATEMENT = Path(__file__).parents[3] / "docs" / "conformance" / "dimse.md"


def _sentence(kind: type[Exception]) -> str:
    return (kind.__doc__ or "").strip()


def _tables() -> dict[str, list[str]]:
    storage = RETIRED_STORAGE | YOUNGER_STORAGE
    verdicts = [(answer, f"`{verdict}`") for verdict, answer in status.VERDICTS.items() if verdict != "conflict"]
    verdicts += [(answer, f"`conflict`, `--on-conflict {wish}`") for wish, answer in status.CONFLICTS.items()]
    errors = [(answer, _sentence(kind)) for kind, answer in status.ERRORS]
    return {
        "storage classes": [f"| `{uid}` | {name} |" for uid, name in storage.items()],
        "refused syntaxes": [f"| `{uid}` | {name} |" for uid, name in REFUSED_TRANSFER_SYNTAXES.items()],
        "statuses": [f"| {answer.code:04X} | {answer.comment} | {when} |" for answer, when in verdicts + errors],
    }


def _with_tables(text: str) -> str:
    for name, rows in _tables().items():
        before, marker, after = text.partition(f"<!-- {name} -->\n")
        table, _, rest = after.partition("\n\n")
        text = "\n".join([before + marker + "\n".join([*table.splitlines()[:2], *rows]), "", rest])
    return text


@pytest.mark.parametrize("name", _tables())
def test_table_is_the_code(name: str) -> None:
    text = STATEMENT.read_text(encoding="utf-8")
    found = text.split(f"<!-- {name} -->\n")[1].split("\n\n")[0].splitlines()[2:]
    assert found == _tables()[name]


def test_numbers_are_the_defaults() -> None:
    limits, text = Limits(), STATEMENT.read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|", text, re.MULTILINE))
    assert rows["Implementation Class UID"] == f"`{IMPLEMENTATION_CLASS_UID}`"
    assert rows["Implementation Version Name"] == f"`{IMPLEMENTATION_VERSION_NAME}`"
    assert rows["Maximum PDU length advertised"] == str(limits.max_pdu)
    assert rows["Associations at a time"].startswith(
        f"{limits.max_associations} in all, {limits.max_associations_per_aet} of one calling title"
    )
    assert rows["Connections without an association"].startswith(f"{limits.max_pending};")
    assert {name: float(rows[name]) for name in ("ARTIM", "idle", "message", "PDU")} == {
        "ARTIM": limits.artim_s,
        "idle": limits.idle_s,
        "message": limits.message_s,
        "PDU": limits.pdu_s,
    }


if __name__ == "__main__":
    STATEMENT.write_text(_with_tables(STATEMENT.read_text(encoding="utf-8")), encoding="utf-8")
