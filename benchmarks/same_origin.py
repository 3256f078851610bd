"""One address for a viewer here and a DICOMweb server there, so that a browser takes both for one site.

    python -m benchmarks.same_origin PORT VIEWER DICOMWEB

forwards ``/dicom-web/...`` to DICOMWEB and everything else to VIEWER, both bases of URLs.
"""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import urllib3

if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

_OF_THE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}
_PIECE_BYTES = 1 << 18


class _Forwarder(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave together
    disable_nagle_algorithm = True
    pool = urllib3.PoolManager(maxsize=64)
    viewer = dicomweb = ""

    def do_GET(self) -> None:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _OF_THE_CONNECTION}
        base = self.dicomweb if self.path.startswith("/dicom-web/") else self.viewer
        answer = self.pool.urlopen(
            self.command, base + self.path, headers=headers, preload_content=False, decode_content=False, redirect=False
        )
        self._pass_on(answer)
        answer.release_conn()

    do_HEAD = do_GET  # noqa: N815

    def _pass_on(self, answer: BaseHTTPResponse) -> None:
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in _OF_THE_CONNECTION:
                self.send_header(name, value)
        length = answer.headers.get("Content-Length")
        self.send_header(*(("Content-Length", length) if length else ("Transfer-Encoding", "chunked")))
        self.end_headers()
        if self.command == "HEAD":
            return
        for piece in answer.stream(_PIECE_BYTES):
            self.wfile.write(piece if length else b"%x\r\n%b\r\n" % (len(piece), piece))
        if not length:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main() -> None:
    """Forward until killed."""
    port, _Forwarder.viewer, _Forwarder.dicomweb = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    ThreadingHTTPServer.request_queue_size = 128
    ThreadingHTTPServer(("127.0.0.1", port), _Forwarder).serve_forever()


if __name__ == "__main__":
    main()
