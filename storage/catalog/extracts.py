"""What metadata and frame requests need of objects, made once after ingest: extracts of series, places of frames.

Both follow from the objects alone and may be lost at any time: what is not here is read from the object.  They name
patients, so they go in the transaction in which an instance's row goes.  What they say is the web's business; `form`
is its number for how it says it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from storage import schema
from storage.records import ObjectKey
from storage.statements import Statement

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from storage.database import Transaction
    from storage.records import InstanceRecord, SeriesUid, StudyUid

KIND: Final = "extract"
"""Of the run that makes them."""
CAUSE: Final = "study-complete"
"""The change that it follows: after every other change of a study's instances this one comes again."""

_extracts, _places = schema.extracts, schema.places
_studies, _series, _instances = schema.studies, schema.series, schema.instances
_KEY_BYTES = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Extract:
    """Text made of consecutive instances of one series, squeezed; `contents` has its bytes.

    `lengths` and `marks` are arrays of 32-bit numbers, little endian: how long each member's text is, and where in the
    whole text `base_url` stands.  `crc` is that of the text, `digest` names the content.
    """

    form: int
    members: tuple[ObjectKey, ...]
    lengths: bytes
    marks: bytes
    base_url: str
    text_bytes: int
    crc: int
    digest: bytes
    id: int = 0
    """The row; 0 where it is in none yet."""


_ABOUT = tuple(column for column in _extracts.c if column.key not in {"content", "study_pk", "series_pk"})
_ALL = (
    sa.select(*_ABOUT)
    .join_from(_extracts, _studies, _studies.c.id == _extracts.c.study_pk)
    .where(_studies.c.study_instance_uid == sa.bindparam("study"), _extracts.c.form == sa.bindparam("form"))
    .order_by(_extracts.c.series_pk, _extracts.c.id)
)
_OF_STUDY = Statement(_ALL)
_OF_SERIES = Statement(
    _ALL.join(_series, _series.c.id == _extracts.c.series_pk).where(
        _series.c.series_instance_uid == sa.bindparam("series")
    )
)
_PLACES = Statement(
    sa.select(_places.c.content)
    .join_from(_places, _instances, _instances.c.id == _places.c.instance_pk)
    .where(
        _instances.c.sop_instance_uid == sa.bindparam("instance"),
        _instances.c.object_key == sa.bindparam("key"),
        _instances.c.transfer_syntax_uid == sa.bindparam("syntax"),
        _places.c.form == sa.bindparam("form"),
    )
)


# ------------------------------------------------------------------------------------------------------- reading
def known(tx: Transaction, study: StudyUid, series: SeriesUid | None = None, *, form: int) -> list[Extract]:
    """Return what has been made of a study or one of its series, in its order."""
    if series is None:
        rows = _OF_STUDY.rows(tx, {"study": study, "form": form})
    else:
        rows = _OF_SERIES.rows(tx, {"study": study, "series": series, "form": form})
    return [
        Extract(
            id=row.id,
            form=row.form,
            members=_keys(bytes(row.members)),
            lengths=bytes(row.lengths),
            marks=bytes(row.marks),
            base_url=row.base_url,
            text_bytes=row.text_bytes,
            crc=row.crc,
            digest=bytes(row.digest),
        )
        for row in rows
    ]


def contents(tx: Transaction, wanted: Sequence[Extract]) -> dict[bytes, bytes]:
    """Return the squeezed texts by digest, without those that have gone since they were known."""
    query = sa.select(_extracts.c.digest, _extracts.c.content).where(_extracts.c.id.in_([each.id for each in wanted]))
    return {bytes(row.digest): bytes(row.content) for row in tx.execute(query)}


def places_of(tx: Transaction, instance: InstanceRecord, *, form: int) -> bytes | None:
    """Return what is known of the places of an instance's frames."""
    named = {
        "instance": instance.sop_instance_uid,
        "key": instance.object_key,
        "syntax": instance.transfer_syntax_uid,
        "form": form,
    }
    rows = _PLACES.rows(tx, named)
    return bytes(rows[0].content) if rows else None


# ------------------------------------------------------------------------------------------------------- writing
def begin(tx: Transaction, study: StudyUid, series: SeriesUid) -> None:
    """Forget what was made of a series: it is made anew."""
    tx.execute(sa.delete(_extracts).where(_extracts.c.series_pk.in_(_pks_of(study, series))))


def enter(
    tx: Transaction,
    instances: Sequence[InstanceRecord],
    extract: Extract,
    content: bytes,
    places: Mapping[ObjectKey, bytes],
) -> bool:
    """Enter what was made of instances of one series; False where one of them is not kept as it was any more.

    On PostgreSQL a removal of any of the study's instances waits for this transaction, or this one for it.
    """
    study, series = instances[0].study_instance_uid, instances[0].series_instance_uid
    lock = sa.select(_studies.c.id).where(_studies.c.study_instance_uid == study)
    study_pk = tx.execute(lock.with_for_update(read=True, key_share=True)).scalar_one_or_none()
    series_pk = tx.execute(_pks_of(study, series)).scalar_one_or_none()
    pks = _pks(tx, series_pk, instances)
    if study_pk is None or len(pks) < len(instances):
        return False
    tx.execute(sa.delete(_places).where(_places.c.instance_pk.in_(list(pks.values()))))
    rows = [{"instance_pk": pks[key], "form": extract.form, "content": told} for key, told in places.items()]
    if rows:
        tx.execute(sa.insert(_places), rows)
    tx.execute(
        sa.insert(_extracts).values(
            study_pk=study_pk,
            series_pk=series_pk,
            form=extract.form,
            members=b"".join(map(bytes.fromhex, extract.members)),
            lengths=extract.lengths,
            marks=extract.marks,
            base_url=extract.base_url,
            text_bytes=extract.text_bytes,
            crc=extract.crc,
            digest=extract.digest,
            content=content,
        )
    )
    return True


def forget_series_of(tx: Transaction, study_pk: int, uids: Iterable[str]) -> None:
    """Forget what was made of the series that hold these instances, which are about to go.

    Call it with the study's row locked against `enter`.
    """
    theirs = sa.select(_instances.c.series_pk).where(
        _instances.c.study_pk == study_pk, _instances.c.sop_instance_uid.in_(list(uids))
    )
    tx.execute(sa.delete(_extracts).where(_extracts.c.series_pk.in_(theirs)))


def _keys(packed: bytes) -> tuple[ObjectKey, ...]:
    digits = packed.hex()
    return tuple(ObjectKey(digits[at : at + 2 * _KEY_BYTES]) for at in range(0, len(digits), 2 * _KEY_BYTES))


def _pks_of(study: StudyUid, series: SeriesUid) -> sa.Select[int]:
    return (
        sa.select(_series.c.id)
        .join(_studies, _studies.c.id == _series.c.study_pk)
        .where(_studies.c.study_instance_uid == study, _series.c.series_instance_uid == series)
    )


def _pks(tx: Transaction, series_pk: int | None, instances: Sequence[InstanceRecord]) -> dict[ObjectKey, int]:
    """Return the rows of those instances that are kept as they were."""
    kept = sa.select(
        _instances.c.id, _instances.c.object_key, _instances.c.sop_instance_uid, _instances.c.transfer_syntax_uid
    ).where(_instances.c.series_pk == series_pk, _instances.c.object_key.in_([one.object_key for one in instances]))
    found = {(row.object_key, row.sop_instance_uid, row.transfer_syntax_uid): row.id for row in tx.execute(kept)}
    wanted = [(one.object_key, one.sop_instance_uid, one.transfer_syntax_uid) for one in instances]
    return {ObjectKey(this[0]): found[this] for this in wanted if this in found}
