"""What a study's row says of patient and study: told by the first instance, and anew where that one goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from storage import schema
from storage.catalog import additions
from storage.names import FOUND_BY, found_by

if TYPE_CHECKING:
    from storage.database import Transaction
    from storage.records import Header, StudyUid

_studies = schema.studies


def forget(tx: Transaction, study: StudyUid) -> None:
    """Forget what was told of a study: the next instance tells it."""
    facts = dict.fromkeys((*additions.STUDY_FACTS, *FOUND_BY))
    this = _studies.c.study_instance_uid == study
    tx.execute(sa.update(_studies).where(this).values(**facts, identity_conflict=False))


def tell(tx: Transaction, header: Header) -> None:
    """Write what an instance tells of its study over what was told before."""
    told = {name: value for name in additions.STUDY_FACTS if (value := getattr(header, name)) is not None}
    if told:
        this = _studies.c.study_instance_uid == header.study_instance_uid
        tx.execute(sa.update(_studies).where(this).values(**told, **found_by(told)))
