"""Conflicts of identity from the command line: listed, shown with the patients' IDs, and cleared."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

from pacs_gateway.reread import read_object
from roi.compose import open_archive, open_database
from roi.errors import SettingWrong
from storage.archive import utc_now
from storage.catalog import identity, studies
from storage.records import StudyUid

if TYPE_CHECKING:
    from roi.settings import Settings


def list_conflicts(settings: Settings) -> None:
    """Print the studies that name several patients, and the Patient IDs that several patients seem to share."""
    with closing(open_database(settings)) as database, database.read() as tx:
        flagged = identity.flagged(tx)
        shared = identity.shared_ids(tx)
    lines = [f"study {uid} names more than one patient" for uid in flagged]
    lines += [
        f"patient {each.patient_id} of {each.issuer_of_patient_id or 'no issuer'}: "
        f"{each.studies} studies, {each.names} names, {each.birth_dates} birth dates"
        for each in shared
    ]
    sys.stdout.write("".join(f"{line}\n" for line in lines) or "no conflicts\n")


def show(settings: Settings, study: str) -> None:
    """Print each Patient ID that a study's instances name, and how many name it; every header is read."""
    named: Counter[tuple[str, str]] = Counter()
    with closing(open_archive(settings)) as archive:
        with archive.database.read() as tx:
            studies.get(tx, StudyUid(study))
            kept = studies.instances_of(tx, StudyUid(study))
        for each in kept:
            header = read_object(archive.objects, each.object_key).arrival.header
            named[header.patient_id or "none", header.issuer_of_patient_id or "no issuer"] += 1
    for (patient, issuer), count in named.most_common():
        sys.stdout.write(f"{patient} of {issuer}: {count} instances\n")


def clear(settings: Settings, study: str, *, actor: str, reason: str) -> None:
    """Note that a study is reconciled."""
    if not actor.strip() or not reason.strip():
        raise SettingWrong("--by and --reason say who decides and why; neither may be empty")
    with closing(open_database(settings)) as database, database.write() as tx:
        done = identity.clear(tx, StudyUid(study), actor=actor, reason=reason, now=utc_now())
    sys.stdout.write(f"study {study} {'is reconciled now' if done else 'was not in conflict'}\n")
