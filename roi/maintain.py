"""Looking after an archive from the command line."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING

import orjson
from rich.console import Console
from rich.table import Table

from pacs_gateway.reread import read_object
from roi.compose import open_archive, open_database
from roi.errors import SettingWrong
from roi.folder import data_folder_lock
from roi.progress import progress_bar
from storage.archive import utc_now
from storage.catalog import audit, damages, peers
from storage.catalog.deletions import Target
from storage.catalog.peers import Peer
from storage.rebuild import LOST
from storage.rebuild import rebuild as rebuild_catalogue
from storage.records import InstanceUid, OnConflict, SeriesUid, StudyUid
from storage.removal import remove as remove_from
from storage.scrub import Manner
from storage.scrub import scrub as scrub_archive
from storage.verify import verify as compare

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from roi.settings import Settings

_ACTOR = "command line"


def verify(settings: Settings, *, as_json: bool) -> None:
    """Report what objects and catalogue do not agree on; exit code 1 where there is anything."""
    archive = open_archive(settings)
    with progress_bar("objects checked") as advance:
        report = compare(archive, on_progress=advance)
    archive.close()
    found = {"missing": report.missing, "corrupt": report.corrupt, "unreferenced": report.unreferenced}
    if as_json:
        sys.stdout.buffer.write(orjson.dumps({"checked": report.checked, **found}) + b"\n")
    else:
        lines = [
            f"{report.checked} objects checked",
            *(f"{name}: {key}" for name, keys in found.items() for key in keys),
        ]
        sys.stdout.write("\n".join(lines) + "\n")
    if not report.clean:
        sys.exit(1)


def scrub(settings: Settings, *, after_h: float, rate_mb_s: float, as_json: bool) -> None:
    """Scrub the archive, or go on with a scrub that was stopped; exit code 1 where there is anything to tell."""
    archive = open_archive(settings)
    manner = Manner(rate_mb_s=rate_mb_s, after=timedelta(hours=after_h))
    try:
        with progress_bar("objects read") as advance:
            found = scrub_archive(archive, manner, actor=_ACTOR, on_progress=advance)
        with archive.database.read() as tx:
            damaged = damages.known(tx)
    finally:
        archive.close()
    lines = [f"{each.damage}: {each.object_key} {each.sop_instance_uid or ''}".rstrip() for each in damaged]
    _report(asdict(found), as_json=as_json, lines=lines, more={"damaged": [asdict(each) for each in damaged]})
    if not found.clean:
        sys.exit(1)


def rebuild(settings: Settings, *, replace: bool, as_json: bool) -> None:
    """Make the catalogue anew; exit code 1 where an object could not be entered."""
    local = settings.catalogue_url.startswith("sqlite:")
    with data_folder_lock(settings.data) if local else nullcontext():
        archive = open_archive(settings)
        try:
            with progress_bar("objects read") as advance:
                found = rebuild_catalogue(archive, read_object, replace_it=replace, on_progress=advance)
        finally:
            archive.close()
    lost = "" if as_json else f"not in the object store, so not rebuilt: {', '.join(LOST)}"
    _report(asdict(found), as_json=as_json, lines=[lost], more={"lost": LOST})
    if found.unreadable:
        sys.exit(1)


def remove(
    settings: Settings, *, study: str, series: str | None, instance: str | None, actor: str, reason: str
) -> None:
    """Remove a study, a series or an instance for good."""
    if not actor.strip() or not reason.strip():
        raise SettingWrong("--by and --reason say who removes it and why; neither may be empty")
    target = Target(
        study=StudyUid(study),
        series=SeriesUid(series) if series else None,
        instance=InstanceUid(instance) if instance else None,
    )
    archive = open_archive(settings)
    try:
        gone = remove_from(archive, target, reason=reason, actor=actor)
    finally:
        archive.close()
    aside = f", {gone.quarantined} copies in quarantine" if gone.quarantined else ""
    sys.stdout.write(f"{gone.instances} instances removed{aside}; tombstone {gone.tombstone}\n")


def _report(figures: Mapping[str, object], *, as_json: bool, lines: Sequence[str], more: Mapping[str, object]) -> None:
    if as_json:
        sys.stdout.buffer.write(orjson.dumps({**figures, **more}) + b"\n")
        return
    told = [f"{name.replace('_', ' ')}: {value}" for name, value in figures.items()]
    sys.stdout.write("\n".join([*told, *filter(None, lines)]) + "\n")


def migrate(settings: Settings) -> None:
    """Bring the catalogue to this release's schema; every role does so by itself where it is needed."""
    open_database(settings).close()
    sys.stdout.write("the catalogue is at this release's schema\n")


def add_peer(settings: Settings, aet: str, host: str, port: int | None, on_conflict: str | None = None) -> None:
    """Let a remote AE call; `on_conflict` changes that of a known one."""
    if not 1 <= len(aet.strip()) <= 16:
        raise SettingWrong("an AE title is 1 to 16 characters")
    if on_conflict not in (None, *OnConflict):
        raise SettingWrong(f"--on-conflict is one of {', '.join(OnConflict)}")
    database = open_database(settings)
    peer = Peer(aet=aet.strip(), host=host, port=port, on_conflict=OnConflict(on_conflict or "refuse"))
    with database.write() as tx:
        new = peers.add(tx, peer, now=utc_now())
        if on_conflict and not new:
            peers.set_on_conflict(tx, peer)
        told = {"host": host, "on_conflict": on_conflict}
        audit.append(tx, actor=_ACTOR, action="peer-added", subject=peer.aet, at=utc_now(), detail=told)
    database.close()
    sys.stdout.write(f"{peer.aet} at {host} {'may call now' if new else 'could call already'}\n")


def remove_peer(settings: Settings, aet: str, host: str) -> None:
    """Let a remote AE call no longer."""
    database = open_database(settings)
    with database.write() as tx:
        known = peers.remove(tx, Peer(aet=aet, host=host))
        audit.append(tx, actor=_ACTOR, action="peer-removed", subject=aet, at=utc_now(), detail={"host": host})
    database.close()
    if not known:
        raise SettingWrong(f"no peer {aet} at {host}; see roi peers list")
    sys.stdout.write(f"{aet} at {host} may not call any more\n")


def list_peers(settings: Settings) -> None:
    """Print the remote AEs that may call."""
    database = open_database(settings)
    with database.read() as tx:
        known = peers.all_peers(tx)
    database.close()
    table = Table("AE title", "host", "port", "on conflict")
    for peer in known:
        table.add_row(peer.aet, peer.host, str(peer.port or ""), peer.on_conflict)
    Console().print(table)
