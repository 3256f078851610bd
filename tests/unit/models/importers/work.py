"""What a conversion that was taken over would try, as functions that run in the jail."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from pathlib import Path


def say(**facts):
    return facts


def call_out(port):
    with socket.create_connection(("127.0.0.1", port), timeout=2) as line:
        line.sendall(b"patient")
    return {}


def open_socket(family):
    socket.socket(getattr(socket, family))
    return {}


def start_program():
    subprocess.run(["/bin/true"], check=True)
    return {}


def fork():
    if os.fork() == 0:
        os._exit(0)
    return {}


def start_thread():
    said = []
    thread = threading.Thread(target=said.append, args=("here",))
    thread.start()
    thread.join()
    return {"said": said}


def kill(pid):
    os.kill(pid, 9)
    return {}


def read_file(path):
    return {"read": Path(path).read_text()}


def write_file(path):
    Path(path).write_text("was here")
    return {}


def tell_environment():
    return {"environment": sorted(os.environ)}


def take_memory():
    return {"bytes": len(bytearray(3 << 30))}


def spin():
    while True:
        pass


def sleep():
    time.sleep(60)


def fill_disk(path):
    with Path(path).open("wb") as file:
        file.writelines(bytes(1 << 20) for _ in range(64))
    return {}


def die():
    os._exit(7)


def babble():
    return {"much": "x" * (2 << 20)}


def escape_sequence():
    from models.errors import ImportRefused

    raise ImportRefused("\x1b[2Jgone\n")
