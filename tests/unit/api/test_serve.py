from __future__ import annotations

import socket

import pytest
from fastapi import FastAPI

from api import WebServer
from api.errors import BindFailed, BindRefused


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.org", ""])
def test_nothing_but_loopback_is_bound(host: str) -> None:
    with pytest.raises(BindRefused, match="loopback"):
        WebServer(FastAPI(), host=host, port=0)


def test_a_taken_port_is_one_clear_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BindFailed, match=f"HTTP cannot listen on localhost:{port}: Address already in use"):
            WebServer(FastAPI(), host="localhost", port=port)
