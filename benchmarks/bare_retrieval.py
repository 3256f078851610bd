"""The least that a study takes on its way out: files read, checked, and sent over HTTP, with nothing known of them.

No DICOM, no catalogue, no negotiation: a thread for each connection, one piece of memory for each thread.  What is
beyond this on a machine, no server in our language can reach there that checks what it sends.

    python -m benchmarks.bare_retrieval FOLDER PORT
"""

from __future__ import annotations

import http.client
import os
import shutil
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from xxhash import xxh3_128

from benchmarks.corpora import Corpus
from benchmarks.peers import MissingError, Peer

_PIECE = 1024 * 1024


class BareRetrieval(Peer):
    """Answers every path of a study with the files of its folder, one after the other."""

    name = "floor: file, checksum, socket"
    promise = "nothing: the files were there"

    def command(self, folder: Path) -> list[str]:
        """Run this module."""
        return [sys.executable, "-m", "benchmarks.bare_retrieval", str(folder), str(self.http_port)]

    def environment(self, folder: Path) -> dict[str, str]:  # noqa: ARG002 - the peers' common form
        """Say where this module is: benchmarks are not installed."""
        return {"PYTHONPATH": str(Path(__file__).parents[1])}

    def ask(self) -> None:
        """Return once it answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=5)
        connection.request("GET", "/")
        connection.getresponse().read()
        connection.close()

    def keep(self, folder: Path, corpus: Corpus) -> None:
        """Lay a corpus's files down, a folder for each study."""
        for uid, files in corpus.studies.items():
            (folder / uid).mkdir(parents=True)
            for number, path in enumerate(files):
                shutil.copyfile(path, folder / uid / f"{number:06d}")

    def stored(self, folder: Path, corpus: Corpus) -> set[str]:  # noqa: ARG002 - the peers' common form
        """Know nothing of instances: of the floor nobody asks for one."""
        raise MissingError(f"{self.name} holds files, and knows no instance")

    def data_set(self, folder: Path, uid: str) -> bytes | memoryview:  # noqa: ARG002 - the peers' common form
        """Know nothing of instances: of the floor nobody asks for one."""
        raise MissingError(f"{self.name} holds files, and knows no instance")


class _Answering(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    folder: Path

    def do_GET(self) -> None:
        """Send every file of the study whose UID ends the path."""
        uid = self.path.rpartition("/")[2]
        files = sorted((self.folder / uid).iterdir()) if uid else []
        self.send_response(200)
        self.send_header("Content-Length", str(sum(path.stat().st_size for path in files)))
        self.end_headers()
        piece = memoryview(bytearray(_PIECE))
        for path in files:
            self._send(path, piece)

    def _send(self, path: Path, piece: memoryview) -> None:
        with path.open("rb", buffering=0) as file:
            checksum = xxh3_128()
            while count := os.readv(file.fileno(), [piece]):
                checksum.update(piece[:count])
                self.connection.sendall(piece[:count])
            checksum.digest()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main() -> None:
    """Serve until killed."""
    folder, port = sys.argv[1:]
    _Answering.folder = Path(folder)
    ThreadingHTTPServer(("127.0.0.1", int(port)), _Answering).serve_forever()


if __name__ == "__main__":
    main()
