"""Metadata as it leaves: from extracts where they have been made, from the objects where not yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from api.dicomweb.atlas import FORM
from api.dicomweb.extraction import part_of
from api.dicomweb.kept import model_of
from storage.catalog import extracts, studies
from storage.errors import CatalogueUnknown

if TYPE_CHECKING:
    from api.context import ApiContext
    from api.dicomweb.compression import Squeezed
    from storage.catalog.extracts import Extract
    from storage.records import InstanceRecord, NamedInstance, SeriesUid, StudyUid

_AT_ONCE: Final = 16
"""Extracts whose contents are fetched together."""


class Part(NamedTuple):
    """Consecutive instances of an answer: some members of an extract, or instances of which none is made."""

    instances: Sequence[NamedInstance]
    extract: Extract | None = None
    start: int = 0

    @property
    def name(self) -> str:
        """What tells its squeezed bytes from others with the same text."""
        return f"{self.extract.digest.hex()}/{self.start}+{len(self.instances)}" if self.extract is not None else ""


def plan(
    context: ApiContext, found: Sequence[NamedInstance], study: StudyUid, series: SeriesUid | None = None
) -> list[Part]:
    """Return instances in their order, as parts of what has been made of their study or series.

    What the answer holds is decided by `found` alone: an extract that holds more is cut, one that fits nowhere is left.
    """
    with context.archive.database.read() as tx:
        made = extracts.known(tx, study, series, form=FORM)
    places = {key: (extract, at) for extract in made for at, key in enumerate(extract.members)}
    parts: list[Part] = []
    position = 0
    while position < len(found):
        extract, start = places.get(found[position].object_key, (None, 0))
        stop = position + 1
        if extract is not None:
            left = extract.members[start + 1 :]
            while (
                stop < len(found)
                and stop - position <= len(left)
                and found[stop].object_key == left[stop - position - 1]
            ):
                stop += 1
        parts.append(Part(found[position:stop], extract, start))
        position = stop
    return parts


def as_array(context: ApiContext, parts: Sequence[Part]) -> Iterator[bytes | Squeezed]:
    """Yield the JSON array of the metadata of `parts`, what has been squeezed as it is.

    Raises
    ------
    DataSetUnreadable
        A data set that is read now does not parse to its end.
    """
    opening = b"["
    for first in range(0, len(parts), _AT_ONCE):
        batch = parts[first : first + _AT_ONCE]
        for part, content in zip(batch, _contents(context, batch), strict=True):
            for text in _texts(context, part, content):
                yield opening
                yield text
                opening = b","
    yield b"]"


def _contents(context: ApiContext, parts: Sequence[Part]) -> list[bytes | None]:
    wanted = [part.extract for part in parts if part.extract is not None]
    if not wanted:
        return [None] * len(parts)
    with context.archive.database.read() as tx:
        found = extracts.contents(tx, wanted)
    return [None if part.extract is None else found.get(part.extract.digest) for part in parts]


def _texts(context: ApiContext, part: Part, content: bytes | None) -> Iterator[bytes | Squeezed]:
    if part.extract is not None and content is not None:
        yield part_of(part.extract, content, part.start, part.start + len(part.instances), context.dicomweb_url)
        return
    for named in part.instances:  # none is made, or it was made anew since the answer began
        yield orjson.dumps(model_of(context.archive, _record(context, named), context.dicomweb_url))


def _record(context: ApiContext, named: NamedInstance) -> InstanceRecord:
    with context.archive.database.read() as tx:
        found = studies.instances_of(tx, named.study_instance_uid, instance=named.sop_instance_uid)
    if [one.object_key for one in found] != [named.object_key]:
        raise CatalogueUnknown("an instance went while its metadata was on its way out")
    return found[0]
