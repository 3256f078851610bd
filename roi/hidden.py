"""What is hidden, from the command line: listed, restored, and removed for good when its time is over."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import TYPE_CHECKING

import orjson
from rich.console import Console
from rich.table import Table

from pacs_gateway.reread import read_object
from roi.compose import open_archive, open_database
from roi.errors import SettingWrong
from storage import hiding
from storage.catalog import hidden
from storage.catalog.deletions import Target
from storage.records import InstanceUid, SeriesUid, StudyUid

if TYPE_CHECKING:
    from roi.settings import Settings
    from storage.catalog.hidden import Hidden

_PAGE = 500


def list_hidden(settings: Settings, *, study: str | None, as_json: bool) -> None:
    """Print what is out of sight, of all studies or one."""
    of = StudyUid(study) if study else None
    with closing(open_database(settings)) as database, database.read() as tx:
        found: list[Hidden] = []
        while page := hidden.listed(tx, study=of, after=found[-1].id if found else 0, limit=_PAGE):
            found += page
    if as_json:
        sys.stdout.buffer.write(orjson.dumps(found) + b"\n")
        return
    table = Table("hidden", "by", "code", "why", "kept", "Study Instance UID", "SOP Instance UID")
    for each in found:
        kept = "yes" if each.object_key else "no"
        row = (f"{each.hidden_at:%Y-%m-%d %H:%M}", each.hidden_by, each.code, each.hidden_why, kept)
        table.add_row(*row, each.study_instance_uid, each.sop_instance_uid)
    Console().print(table)


def restore(
    settings: Settings, *, study: str, series: str | None, instance: str | None, actor: str, reason: str
) -> None:
    """Bring what is hidden of a study, a series or an instance into sight again."""
    if not actor.strip() or not reason.strip():
        raise SettingWrong("--by and --reason say who restores it and why; neither may be empty")
    target = Target(
        study=StudyUid(study),
        series=SeriesUid(series) if series else None,
        instance=InstanceUid(instance) if instance else None,
    )
    with closing(open_archive(settings)) as archive:
        back = hiding.restore(archive, target, read_object, actor=actor, reason=reason)
    forgotten = f", {back.forgotten} UIDs without bytes forgotten" if back.forgotten else ""
    sys.stdout.write(f"{back.instances} instances are in sight again{forgotten}\n")
