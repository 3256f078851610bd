"""Bringing a foreign file here: from disk or over https alone, and only with the digest that was pinned."""

from __future__ import annotations

import hashlib
import http.server
import shutil
import ssl
import subprocess
import threading

import pytest

from models.errors import ImportRefused
from models.importers import fetch

CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Gives the weights, leads on to plain http, or says no."""

    def do_GET(self):
        status = {"/model.pt": 200, "/onward": 302, "/down": 302}.get(self.path, 404)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/model.pt" if self.path == "/onward" else "http://127.0.0.1:9/model.pt")
        self.end_headers()
        if status == 200:
            self.wfile.write(CONTENT)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate, and is not here")
    folder = tmp_path_factory.mktemp("certificate")
    key, made = folder / "key.pem", folder / "certificate.pem"
    asked = ["-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=trial", "-addext"]
    named = ["subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(made)]
    subprocess.run(["openssl", "req", "-x509", *asked, *named], check=True, capture_output=True)
    return key, made


@pytest.fixture(scope="module")
def address(certificate):
    key, made = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"https://127.0.0.1:{server.server_port}"
        server.shutdown()
        serving.join()


@pytest.fixture
def trusted(certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[1]))


@pytest.mark.parametrize("path", ["/model.pt", "/onward"])
def test_a_file_is_downloaded_over_https(tmp_path, address, trusted, path):
    fetch.bring(address + path, SHA256, tmp_path / "here")
    assert (tmp_path / "here").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("path", "sha256", "said"),
    [
        ("/model.pt", "0" * 64, "not the 0000"),
        ("/down", SHA256, "leads on to one that is not https"),
        ("/nothing", SHA256, "it answers 404"),
    ],
)
def test_another_file_another_scheme_and_no_file_are_refused(tmp_path, address, trusted, path, sha256, said):
    with pytest.raises(ImportRefused, match=said):
        fetch.bring(address + path, sha256, tmp_path / "here")


def test_whose_certificate_nobody_vouches_for_is_not_asked(tmp_path, address):
    with pytest.raises(ImportRefused, match="CERTIFICATE_VERIFY_FAILED"):
        fetch.bring(f"{address}/model.pt", SHA256, tmp_path / "here")


def test_what_is_larger_than_may_be_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "LIMIT_BYTES", 100)
    (tmp_path / "model.pt").write_bytes(CONTENT)
    with pytest.raises(ImportRefused, match="larger than"):
        fetch.bring(str(tmp_path / "model.pt"), SHA256, tmp_path / "here")


@pytest.mark.parametrize("source", ["http://127.0.0.1/x", "ftp://127.0.0.1/x", "file:///etc/passwd"])
def test_only_a_file_or_an_https_address_is_a_source(tmp_path, source):
    with pytest.raises(ImportRefused, match="not from"):
        fetch.bring(source, "0" * 64, tmp_path / "here")


def test_what_cannot_be_had_is_said_without_the_rest_of_the_address(tmp_path):
    for source in (str(tmp_path / "nowhere"), "https://127.0.0.1:1/model.pt?token=secret"):
        with pytest.raises(ImportRefused, match="does not give the file") as refused:
            fetch.bring(source, "0" * 64, tmp_path / "here")
        assert "secret" not in str(refused.value)
