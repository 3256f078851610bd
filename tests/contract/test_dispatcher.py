"""The contract of `inference.ports.Dispatcher`, on every adapter."""

from __future__ import annotations

import base64
import json
import logging
import queue
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest
import redis

from inference.dispatchers import open_dispatcher
from inference.errors import DispatcherMisconfigured, DispatcherUnavailable
from inference.ports import Dispatcher
from storage.records import JobId
from tests.servers import rabbitmq as rabbitmq_program
from tests.servers import redis as redis_program
from tests.servers.process import Server, free_port
from tests.servers.rabbitmq import running_rabbitmq
from tests.servers.redis import running_redis

SOON_S = 10.0

BROKERS = [
    pytest.param("redis_server", marks=pytest.mark.servers, id="redis"),
    pytest.param("rabbitmq_server", marks=pytest.mark.servers, id="rabbitmq"),
]


@pytest.fixture(params=["child:", *BROKERS])
def url(request: pytest.FixtureRequest) -> str:
    """The address of each kind of dispatcher, brokers running."""
    return request.param if request.param == "child:" else request.getfixturevalue(request.param).url


@pytest.fixture
def dispatcher(url: str) -> Iterator[Dispatcher]:
    """A dispatcher of each kind, with nothing left of an earlier test in its queue."""
    opened = open_dispatcher(url)
    heard = _Heard()
    with opened.listen(heard):
        heard.wait_until_silent()
    yield opened
    opened.close()


# ------------------------------------------------------------------------------------------------------ rings
def test_listener_hears_the_job_that_was_rung_for(dispatcher: Dispatcher) -> None:
    heard, job = _Heard(), _job()
    with dispatcher.listen(heard):
        dispatcher.wake(job)
        assert heard.next() == job


def test_listener_hears_many_threads(dispatcher: Dispatcher) -> None:
    heard, jobs = _Heard(), [_job() for _ in range(60)]
    with dispatcher.listen(heard), ThreadPoolExecutor(6) as pool:
        list(pool.map(dispatcher.wake, jobs))
        assert heard.until(set(jobs)) == set(jobs)


def test_ring_is_heard_within_a_tenth_of_a_second_once_listening(dispatcher: Dispatcher) -> None:
    heard, delays = _Heard(), []
    with dispatcher.listen(heard):
        dispatcher.wake(_job())
        heard.next()
        for _ in range(20):
            began = time.monotonic()
            dispatcher.wake(_job())
            heard.next()
            delays.append(time.monotonic() - began)
    assert sorted(delays)[len(delays) // 2] < 0.1


def test_ring_without_a_listener_returns(dispatcher: Dispatcher) -> None:
    began = time.monotonic()
    dispatcher.wake(_job())
    assert time.monotonic() - began < 2


def test_nothing_is_heard_after_the_block_ends_and_no_thread_stays(dispatcher: Dispatcher) -> None:
    threads, heard = set(threading.enumerate()), _Heard()
    with dispatcher.listen(heard):
        dispatcher.wake(_job())
        heard.next()
    dispatcher.wake(_job())
    time.sleep(0.5)
    assert heard.all() == []
    assert [thread.name for thread in set(threading.enumerate()) - threads] == []


def test_listening_again_hears_again(dispatcher: Dispatcher) -> None:
    for _ in range(3):
        heard, job = _Heard(), _job()
        with dispatcher.listen(heard):
            dispatcher.wake(job)
            assert heard.next() == job


def test_ping_of_a_working_dispatcher_returns(dispatcher: Dispatcher) -> None:
    dispatcher.ping()


@pytest.mark.parametrize("server", BROKERS)
def test_ring_crosses_processes(server: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue(server).url
    listener = subprocess.Popen([sys.executable, "-c", _LISTENER, url], stdout=subprocess.PIPE, text=True)
    job = _job()
    ringing = open_dispatcher(url)
    try:
        ringing.wake(job)
        assert listener.communicate(timeout=60)[0].strip() == job
    finally:
        listener.kill()
        listener.wait()
        ringing.close()


@pytest.mark.servers
def test_message_carries_the_job_and_nothing_else(redis_server: Server) -> None:
    job = _job()
    ringing = open_dispatcher(redis_server.url)
    ringing.wake(job)
    ringing.close()
    with redis.Redis.from_url(redis_server.url) as client:
        messages = [json.loads(raw) for raw in client.lrange("roi.triage", 0, -1)]
        client.delete("roi.triage")
    [arguments] = [body for body in map(_body, messages) if body[0] == [job]]
    assert arguments[:2] == [[job], {}]


# --------------------------------------------------------------------------------------------------- failures
@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_ring_without_a_broker_returns_in_seconds_and_is_logged(scheme: str, caplog: pytest.LogCaptureFixture) -> None:
    job = _job()
    away = open_dispatcher(f"{scheme}://127.0.0.1:{free_port()}//")
    began = time.monotonic()
    with caplog.at_level(logging.WARNING):
        away.wake(job)
    assert time.monotonic() - began < 5
    assert [(record.action, record.job) for record in caplog.records if hasattr(record, "action")] == [
        ("ring-lost", job)
    ]


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_ping_without_a_broker_raises_within_seconds(scheme: str) -> None:
    away = open_dispatcher(f"{scheme}://127.0.0.1:{free_port()}//")
    began = time.monotonic()
    with pytest.raises(DispatcherUnavailable):
        away.ping()
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("url", ["", "nonsense", "kafka://host"])
def test_url_that_cannot_work_is_refused_with_what_is_expected(url: str) -> None:
    with pytest.raises(DispatcherMisconfigured, match="expected"):
        open_dispatcher(url)


@pytest.mark.servers
@pytest.mark.parametrize(
    ("program", "running"),
    [(redis_program, running_redis), (rabbitmq_program, running_rabbitmq)],
    ids=["redis", "rabbitmq"],
)
def test_listener_hears_again_after_the_broker_died_and_came_back(
    program: object, running: Callable[[Path], AbstractContextManager[Server]], tmp_path: Path
) -> None:
    if reason := program.available():
        pytest.skip(reason)
    with ExitStack() as stack:
        server = stack.enter_context(running(tmp_path / "server"))
        dispatcher = open_dispatcher(server.url)
        stack.callback(dispatcher.close)
        heard = _Heard()
        stack.enter_context(dispatcher.listen(heard))
        dispatcher.wake(first := _job())
        assert heard.until({first}) == {first}

        server.kill()
        began = time.monotonic()
        dispatcher.wake(_job())
        with pytest.raises(DispatcherUnavailable):
            dispatcher.ping()
        assert time.monotonic() - began < 10

        server.restart()
        dispatcher.ping()
        assert _rings_until_heard(dispatcher, heard, within_s=60)


# ---------------------------------------------------------------------------------------------------- helpers
_LISTENER = """
import queue, sys
from inference.dispatchers import open_dispatcher
heard = queue.SimpleQueue()
dispatcher = open_dispatcher(sys.argv[1])
with dispatcher.listen(heard.put):
    print(heard.get(timeout=50), flush=True)
"""


class _Heard:
    """Collects what a listener is told."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[JobId] = queue.SimpleQueue()

    def __call__(self, job: JobId) -> None:
        self._jobs.put(job)

    def next(self) -> JobId:
        """Return the next ring, which has to come soon."""
        return self._jobs.get(timeout=SOON_S)

    def all(self) -> list[JobId]:
        """Return what was heard by now."""
        return [self._jobs.get_nowait() for _ in range(self._jobs.qsize())]

    def until(self, jobs: set[JobId]) -> set[JobId]:
        """Return what was heard when all of `jobs` were, or soon after."""
        heard: set[JobId] = set()
        deadline = time.monotonic() + SOON_S
        while not jobs <= heard and time.monotonic() < deadline:
            heard.update(self.all())
            time.sleep(0.02)
        return heard

    def wait_until_silent(self) -> None:
        """Return when nothing was heard for a moment, which has to come soon."""
        deadline = time.monotonic() + SOON_S
        time.sleep(0.3)
        while self.all() and time.monotonic() < deadline:
            time.sleep(0.3)


def _job() -> JobId:
    return JobId(secrets.token_hex(16))


def _body(message: dict[str, str]) -> list[object]:
    return json.loads(base64.b64decode(message["body"]))


def _rings_until_heard(dispatcher: Dispatcher, heard: _Heard, *, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        dispatcher.wake(job := _job())
        if job in heard.until({job}):
            return True
    return False


@pytest.mark.parametrize("body", [[], [[]], [[7]], {"x": 1}, [["0" * 65]], "text", [[["nested"]]]])
def test_a_forged_message_is_no_ring(body: object) -> None:
    from inference.dispatchers.celery_queue import _job_of

    assert _job_of(body) is None
