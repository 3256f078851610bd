"""How large a job is: told when it is made, so that a radiograph need not wait for a chest CT of 600 slices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from storage.records import JobSize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.contract import InputRules
    from storage.records import InstanceRecord

MOST_IMAGES: Final = 100
"""Frames that a small job decodes at most: a head CT of 5 mm has 32, a thin one 300."""
MOST_BYTES: Final = 128 << 20


def size_of(instances: Sequence[InstanceRecord], rules: InputRules) -> JobSize:
    """Return the size of a job on these instances, of which the model reads some that its rules accept.

    A radiograph is one image however many a study has.
    """
    accepted = [each for each in instances if rules.accepts(modality=each.modality, sop_class_uid=each.sop_class_uid)]
    if rules.kind == "radiograph":
        accepted = sorted(accepted, key=lambda each: each.size_bytes)[-1:]
    images = sum(each.number_of_frames or 1 for each in accepted)
    size_bytes = sum(each.size_bytes for each in accepted)
    return JobSize.LARGE if images > MOST_IMAGES or size_bytes > MOST_BYTES else JobSize.SMALL
