"""Who asks: plain sockets that keep their connection, one process a client, cheap enough not to be the limit."""

from __future__ import annotations

import multiprocessing
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from types import TracebackType
from typing import Self

import orjson

from benchmarks.questions import Question

_LIMIT_S = 600
_MOST_S = 4.0
"""A client that has waited this long for its answers asks no further."""


class WrongAnswerError(RuntimeError):
    """A server answered something else than what was asked: no figure."""


@dataclass(frozen=True, kw_only=True)
class Round:
    """Questions asked in turn from so many clients at once, each `times` times by each."""

    port: int
    questions: Sequence[Question]
    clients: int
    times: int

    def ask(self) -> list[float]:
        """Return the seconds of each answer.

        Raises
        ------
        WrongAnswerError
            An answer is not what was asked for; they are looked at when all have come.
        """
        context = multiprocessing.get_context("fork")
        told: Queue[tuple[list[float], str]] = context.Queue()
        go = context.Barrier(self.clients)
        asking = [context.Process(target=self._client, args=(number, go, told)) for number in range(self.clients)]
        for process in asking:
            process.start()
        found = [told.get(timeout=_LIMIT_S) for _ in asking]
        for process in asking:
            process.join()
        if wrong := next((reason for _, reason in found if reason), ""):
            raise WrongAnswerError(wrong)
        return [each for seconds, _ in found for each in seconds]

    def _client(self, number: int, go: Barrier, told: Queue[tuple[list[float], str]]) -> None:
        try:
            told.put((self._timed(number, go), ""))
        except (OSError, ValueError, KeyError, threading.BrokenBarrierError, WrongAnswerError) as error:
            go.abort()
            told.put(([], f"{type(error).__name__}: {error}"))

    def _timed(self, number: int, go: Barrier) -> list[float]:
        asked = [self.questions[(number + turn) % len(self.questions)] for turn in range(self.times)]
        seconds: list[float] = []
        answers: list[tuple[int, bytes]] = []
        with _Client(self.port) as client:
            go.wait(120)
            client.get(asked[0].target)  # the first one opens what is opened once
            ends = time.perf_counter() + _MOST_S
            while len(answers) < len(asked) and (began := time.perf_counter()) < ends:
                answers.append(client.get(asked[len(answers)].target))
                seconds.append(time.perf_counter() - began)
        for question, (status, body) in zip(asked, answers, strict=False):
            _check(question, status, body)
        return seconds


def _check(question: Question, status: int, body: bytes) -> None:
    if status not in {200, 204}:
        raise WrongAnswerError(f"{question.target} answered {status}")
    answer = orjson.loads(body) if body else []
    if not question.right(answer):
        raise WrongAnswerError(f"{question.target} was answered with {len(answer)} matches that are not what was asked")


class _Client:
    """A connection that is kept, and opened again where the server closed it between two answers."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection = self._connect()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def get(self, target: str) -> tuple[int, bytes]:
        """Return status and body."""
        try:
            return _request(self._connection, target)
        except ConnectionError:
            self._connection.close()
            self._connection = self._connect()
            return _request(self._connection, target)

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self._port), timeout=60)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


def _request(connection: socket.socket, target: str) -> tuple[int, bytes]:
    connection.sendall(
        f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/dicom+json\r\n\r\n".encode("ascii")
    )
    received = bytearray()
    while (end := received.find(b"\r\n\r\n")) < 0:
        received += _some(connection)
    head = bytes(received[:end]).lower()
    body = received[end + 4 :]
    status = int(head[9:12])
    if b"transfer-encoding: chunked" in head:
        while not body.endswith(b"0\r\n\r\n"):
            body += _some(connection)
        return status, _unchunked(bytes(body))
    length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
    while len(body) < length:
        body += _some(connection)
    return status, bytes(body)


def _some(connection: socket.socket) -> bytes:
    received = connection.recv(1 << 18)
    if not received:
        raise ConnectionError("the server closed the connection")
    return received


def _unchunked(body: bytes) -> bytes:
    pieces = []
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        pieces.append(rest[:length])
        body = rest[length + 2 :]
    return b"".join(pieces)
