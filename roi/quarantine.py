"""Copies in quarantine from the command line: what there is, how a copy differs, and a person's decision."""

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
from storage import decisions
from storage.catalog import quarantine
from storage.records import Header

if TYPE_CHECKING:
    from roi.settings import Settings
    from storage.catalog.quarantine import PutAside

_PAGE = 500


def list_copies(settings: Settings, *, every: bool, as_json: bool) -> None:
    """Print the copies that wait for a decision, or all."""
    with closing(open_database(settings)) as database, database.read() as tx:
        found: list[PutAside] = []
        while page := quarantine.listed(tx, waiting=not every, after=found[-1].id if found else 0, limit=_PAGE):
            found += page
    if as_json:
        sys.stdout.buffer.write(orjson.dumps(found) + b"\n")
        return
    table = Table("copy", "state", "received", "from", "why", "SOP Instance UID")
    for each in found:
        row = (each.state.lower(), f"{each.received_at:%Y-%m-%d %H:%M}", each.calling_aet, each.reason)
        table.add_row(str(each.id), *row, each.sop_instance_uid)
    Console().print(table)


def show(settings: Settings, row_id: int) -> None:
    """Print a copy, and the names of the attributes in which it differs from the kept instance."""
    with closing(open_archive(settings)) as archive:
        with archive.database.read() as tx:
            copy = quarantine.one(tx, row_id)
            kept = quarantine.kept_under(tx, copy.sop_instance_uid)
        facts = {name: str(getattr(copy, name) or "") for name in type(copy).__slots__}
        if kept is not None and copy.state is quarantine.Decision.WAITING:
            headers = [read_object(archive.objects, key).arrival.header for key in (kept.object_key, copy.object_key)]
            facts["differs in"] = ", ".join(_differences(*headers)) or "pixels, or attributes that are not indexed"
    sys.stdout.write("".join(f"{name}: {value}\n" for name, value in facts.items()))


def release(settings: Settings, row_id: int, *, actor: str, reason: str) -> None:
    """Keep a copy in place of the kept instance."""
    _check(actor, reason)
    with closing(open_archive(settings)) as archive:
        copy = decisions.release(archive, row_id, read_object, actor=actor, reason=reason)
    sys.stdout.write(f"copy {copy.id} is kept now; what was kept is in quarantine\n")


def reject(settings: Settings, row_id: int, *, actor: str, reason: str) -> None:
    """Remove a copy for good."""
    _check(actor, reason)
    with closing(open_archive(settings)) as archive:
        copy = decisions.reject(archive, row_id, actor=actor, reason=reason)
    sys.stdout.write(f"copy {copy.id} is rejected; the kept instance stays\n")


def _differences(first: Header, second: Header) -> list[str]:
    return [name for name in Header.__slots__ if getattr(first, name) != getattr(second, name)]


def _check(actor: str, reason: str) -> None:
    if not actor.strip() or not reason.strip():
        raise SettingWrong("--by and --reason say who decides and why; neither may be empty")
