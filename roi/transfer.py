"""Bringing DICOM in from the command line: over the network, or straight from disk."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from pacs_gateway import scu
from pacs_gateway.errors import GatewayError
from pacs_gateway.ingest import Ingest
from roi.compose import open_archive
from roi.progress import progress_bar
from storage.records import Origin, StudyUid, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from roi.settings import Settings

_SHOWN = 50


def send(
    folder: Path, host: str, port: int, *, called_aet: str, calling_aet: str, associations: int, state: Path | None
) -> None:
    """Send files over an association; exit code 1 where the peer did not take all of them."""
    with progress_bar("files sent") as advance:
        report = scu.send(
            [folder],
            host,
            port,
            calling_aet=calling_aet,
            called_aet=called_aet,
            associations=associations,
            on_progress=lambda progress: advance(progress.done, progress.total),
            state=state,
        )
    skipped = f", {report.skipped} sent before" if report.skipped else ""
    sys.stdout.write(f"{report.sent} files sent ({report.sent_bytes / 1e6:.1f} MB){skipped}\n")
    _print_refused((item.path, item.reason) for item in report.not_sent)
    if report.not_sent:
        sys.exit(1)


def import_files(settings: Settings, folder: Path) -> None:
    """Take files into the archive; running it again skips what is there.  Exit code 1 where a file was refused."""
    archive = open_archive(settings)
    ingest = Ingest(archive)
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else [folder]
    verdicts: Counter[Verdict] = Counter()
    refused: list[tuple[Path, str]] = []
    studies: set[StudyUid] = set()
    with progress_bar("files read") as advance:
        for done, path in enumerate(files, start=1):
            try:
                with path.open("rb") as file:
                    verdict, header = ingest.part10(file, Origin(via="import"))
            except GatewayError as error:
                refused.append((path, str(error)))
            else:
                verdicts[verdict] += 1
                studies.add(header.study_instance_uid)
            advance(done, len(files))
    ingest.release(studies)
    archive.close()
    words = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items())) or "nothing taken"
    sys.stdout.write(f"{len(files)} files: {words}\n")
    _print_refused(refused)
    if refused:
        sys.exit(1)


def _print_refused(refused: Iterable[tuple[Path, str]]) -> None:
    rows = list(refused)
    if not rows:
        return
    table = Table("file", "why not", title=f"{len(rows)} files refused")
    for path, reason in rows[:_SHOWN]:
        table.add_row(str(path), reason)
    Console().print(table)
    if len(rows) > _SHOWN:
        sys.stdout.write(f"and {len(rows) - _SHOWN} more\n")
