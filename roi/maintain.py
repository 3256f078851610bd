"""Looking after an archive from the command line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import orjson
from rich.console import Console
from rich.table import Table

from models import registry
from roi.compose import open_archive, open_database
from roi.errors import SettingWrong
from roi.progress import progress_bar
from storage.archive import utc_now
from storage.catalog import audit, peers
from storage.catalog.peers import Peer
from storage.verify import verify as compare

if TYPE_CHECKING:
    from roi.settings import Settings


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


def migrate(settings: Settings) -> None:
    """Bring the catalogue to this release's schema; every role does so by itself where it is needed."""
    open_database(settings).close()
    sys.stdout.write("the catalogue is at this release's schema\n")


def add_peer(settings: Settings, aet: str, host: str, port: int | None) -> None:
    """Let a remote AE call."""
    if not 1 <= len(aet.strip()) <= 16:
        raise SettingWrong("an AE title is 1 to 16 characters")
    database = open_database(settings)
    peer = Peer(aet=aet.strip(), host=host, port=port)
    with database.write() as tx:
        new = peers.add(tx, peer, now=utc_now())
        audit.append(
            tx, actor="command line", action="peer-added", subject=peer.aet, at=utc_now(), detail={"host": host}
        )
    database.close()
    sys.stdout.write(f"{peer.aet} at {host} {'may call now' if new else 'could call already'}\n")


def remove_peer(settings: Settings, aet: str, host: str) -> None:
    """Let a remote AE call no longer."""
    database = open_database(settings)
    with database.write() as tx:
        known = peers.remove(tx, Peer(aet=aet, host=host))
        audit.append(tx, actor="command line", action="peer-removed", subject=aet, at=utc_now(), detail={"host": host})
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
    table = Table("AE title", "host", "port")
    for peer in known:
        table.add_row(peer.aet, peer.host, str(peer.port or ""))
    Console().print(table)


def list_models() -> None:
    """Print the installed models."""
    table = Table("model", "version", "looks for", "input", "status")
    for card in registry.cards():
        findings = ", ".join(finding.name_en for finding in card.findings)
        table.add_row(card.id, card.version, findings, " ".join(card.input_rules.modalities), card.regulatory_status)
    Console().print(table)
    for label in sorted({card.label_en for card in registry.cards()}):
        Console().print(label)
