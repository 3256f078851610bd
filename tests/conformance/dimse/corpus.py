"""What becomes of each real file that is sent by C-STORE: observed, and pinned in ``corpus.json``.

``python -m tests.conformance.dimse.corpus FOLDER`` observes anew and writes the table; read its difference before
committing it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pydicom.filereader import dcmread

from pacs_gateway.ae import Gateway
from pacs_gateway.errors import Part10Rejected
from pacs_gateway.ingest import Ingest
from pacs_gateway.limits import Limits
from pacs_gateway.part10 import FileMeta, read_meta
from tests.raw_scu import CT, EXPLICIT, RawScu, c_store, context
from tests.servers.dcmtk import NO_DELAY, dcmtk
from tests.unit.pacs_gateway.archive import MemoryArchive

TABLE = Path(__file__).with_name("corpus.json")
GOOD = ("modality", "transfer_syntax", "charset", "derived")
BAD = ("bad", "fuzz")

Row = dict[str, str]


@dataclass
class Site:
    """A gateway whose archive can be emptied: files may repeat a UID with other content."""

    port: int
    archive: MemoryArchive

    def take(self) -> list[bytes]:
        """Return the data sets kept since the last call."""
        kept = [content[arrival.meta_bytes :] for arrival, content in self.archive.kept.values()]
        self.archive.kept.clear()
        return kept


@contextmanager
def running_site() -> Iterator[Site]:
    with tempfile.TemporaryDirectory() as folder:
        archive = MemoryArchive(Path(folder))
        gateway = Gateway(
            ingest=Ingest(archive),
            aet="ROI",
            host="127.0.0.1",
            port=0,
            may_call=lambda *_: True,
            limits=Limits(artim_s=2, message_s=5, pdu_s=5),
        )
        gateway.start()
        try:
            yield Site(gateway.port, archive)
        finally:
            gateway.stop(1.0)


def split(content: bytes) -> tuple[FileMeta, bytes]:
    """Return a file's meta information and data set; one that has none is sent whole, as a CT."""
    try:
        meta = read_meta(content)
    except Part10Rejected:
        return FileMeta(sop_class_uid=CT, sop_instance_uid="1.2.3", transfer_syntax_uid=EXPLICIT, length=0), content
    return meta, content[meta.length :]


def sop_uids(content: bytes) -> tuple[str, str]:
    """Return what the command has to name: the data set's own UIDs as pydicom reads them, else the file meta's."""
    meta, _ = split(content)
    theirs = (meta.sop_class_uid or CT, meta.sop_instance_uid or "1.2.3")
    with warnings.catch_warnings(), suppress(ValueError, OSError, NotImplementedError, zlib.error):
        warnings.simplefilter("ignore")
        found = dcmread(BytesIO(content), specific_tags=["SOPClassUID", "SOPInstanceUID"], force=True)
        return str(found.get("SOPClassUID") or theirs[0]), str(found.get("SOPInstanceUID") or theirs[1])
    return theirs


def send_raw(site: Site, content: bytes) -> Row:
    """Send a file's data set as it is; tell the status and whether the same bytes are kept."""
    meta, data_set = split(content)
    sop_class, sop_instance = sop_uids(content)
    with RawScu(site.port) as scu:
        accepted = scu.associate(context(1, sop_class, meta.transfer_syntax_uid))
        result = accepted.contexts[1][0]
        if result:
            return {"status": f"context refused {result}", "stored": "no"}
        status = scu.store(1, c_store(sop_class, sop_instance), data_set).status
        scu.release()
    return {"status": f"{status:04X}", "stored": _compared(site.take(), data_set)}


def send_dcmtk(site: Site, path: Path) -> Row:
    """Send a file with dcmsend, which never transcodes here but writes the data set itself."""
    done = subprocess.run(
        [dcmtk("dcmsend"), "-dn", "-nh", "-aec", "ROI", "127.0.0.1", str(site.port), path],
        env={**os.environ, **NO_DELAY},
        capture_output=True,
        check=False,
        timeout=60,
    )
    stored = _compared(site.take(), split(path.read_bytes())[1])
    return {"dcmsend": f"exit {done.returncode}", "stored by dcmsend": stored}


def _compared(kept: list[bytes], sent: bytes) -> str:
    if not kept:
        return "no"
    return "identical" if kept == [sent] else "re-encoded"


def files(data: Path, folders: tuple[str, ...]) -> dict[str, Path]:
    """The files of some folders by their short names."""
    return {f"{folder}/{path.name}": path for folder in folders for path in sorted((data / "dicom" / folder).iterdir())}


def main(data: Path) -> None:
    with running_site() as site:
        table = {name: send_raw(site, path.read_bytes()) for name, path in files(data, GOOD + BAD).items()}
        for name, path in files(data, GOOD).items():
            table[name] |= send_dcmtk(site, path)
    lines = [f"{json.dumps(name)}: {json.dumps(row)}" for name, row in table.items()]
    TABLE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
