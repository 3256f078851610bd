"""Celery as the doorbell, on Redis or RabbitMQ: a message is a job's id, no result is kept, nothing depends on it."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from celery import Celery
from kombu.exceptions import KombuError, OperationalError

from inference.errors import DispatcherUnavailable
from storage.records import JobId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SCHEMES = ("redis", "rediss", "amqp", "amqps")

logger = logging.getLogger(__name__)

_QUEUE = "roi.triage"
_TASK = "roi.wake"
_CONNECT_S = 3
_LONGEST_ID = 64
_VISIBLE_AGAIN_S = 3600
"""Redis gives out again what nobody acknowledged for so long; a message is acknowledged as it comes, so none is."""
_LOOK_S = 0.5
"""How soon the listening thread sees that it shall end."""
_REST_S = 1.0
"""Between two tries to reach a broker that is away."""
_AWAY = (OperationalError, KombuError, ConnectionError, OSError)


class CeleryDispatcher:
    """Publishes rings as Celery tasks, and hears them with a consumer of its own.

    Messages are JSON and carry a job's id alone, and no priority: the job table orders.  They are acknowledged on
    receipt: redelivery would only ring again, and the claim in the job table decides who runs.  A Celery worker is not
    used: it belongs to a process of its own, keeps its state in globals, and cannot listen twice or come back in a
    thread once its broker died.
    """

    def __init__(self, url: str) -> None:
        self._app = Celery("roi", broker=url, set_as_current=False)
        self._app.conf.update(
            task_ignore_result=True,
            result_backend=None,
            # What a worker of Celery's own would need, should somebody start one on this queue: it would lose nothing.
            task_acks_late=True,
            task_reject_on_worker_lost=True,
            worker_prefetch_multiplier=1,
            task_serializer="json",
            accept_content=["json"],
            task_default_queue=_QUEUE,
            broker_connection_timeout=_CONNECT_S,
            broker_transport_options={
                "visibility_timeout": _VISIBLE_AGAIN_S,
                "socket_connect_timeout": _CONNECT_S,
                "socket_timeout": 10,
                "max_retries": 1,
                "interval_start": 0,
            },
            task_publish_retry=False,
        )

    def wake(self, job: JobId) -> None:
        """Ring for a job that waits; a broker that is away costs a look at the table, no more."""
        try:
            self._app.send_task(_TASK, args=(job,), queue=_QUEUE)
        except _AWAY as error:
            logger.warning(
                "broker away, ring lost", extra={"action": "ring-lost", "job": job, "error": type(error).__name__}
            )

    @contextmanager
    def listen(self, on_wake: Callable[[JobId], None]) -> Iterator[None]:
        """Hear rings in a thread until the block ends."""
        stop = threading.Event()
        thread = threading.Thread(target=self._hear, args=(on_wake, stop), name="celery-doorbell", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def ping(self) -> None:
        """Connect to the broker."""
        try:
            with self._app.connection_for_read() as connection:
                connection.ensure_connection(max_retries=1, timeout=_CONNECT_S)
        except _AWAY as error:
            raise DispatcherUnavailable(f"the broker does not answer: {type(error).__name__}") from error

    def close(self) -> None:
        """Give pooled connections back."""
        self._app.close()

    def _hear(self, on_wake: Callable[[JobId], None], stop: threading.Event) -> None:
        """Consume until told to stop, from one connection after the other."""
        transport = self._app.connection_for_read()  # not connected: it knows the broker library's own errors
        away = (*_AWAY, *transport.connection_errors, *transport.channel_errors)
        while not stop.is_set():
            try:
                self._consume(on_wake, stop)
            except away as error:
                extra = {"action": "doorbell-away", "error": type(error).__name__}
                logger.warning("broker away, listening again soon", extra=extra)
                stop.wait(_REST_S)

    def _consume(self, on_wake: Callable[[JobId], None], stop: threading.Event) -> None:
        def heard(body: Any, message: Any) -> None:  # noqa: ANN401 - kombu is untyped
            message.ack()
            if (job := _job_of(body)) is not None:
                on_wake(job)

        queue = self._app.amqp.queues[_QUEUE]
        with (
            self._app.connection_for_read() as connection,
            connection.Consumer(
                [queue], callbacks=[heard], accept=["json"], prefetch_count=1, on_decode_error=_put_away
            ),
        ):
            while not stop.is_set():
                try:
                    connection.drain_events(timeout=_LOOK_S)
                except TimeoutError:
                    connection.heartbeat_check()


def _job_of(body: object) -> JobId | None:
    """Return the job that a message of Celery's protocol 2 names, (args, kwargs, embed); None of any other message."""
    match body:
        case [[str() as job], *_] if len(job) <= _LONGEST_ID:
            return JobId(job)
    logger.warning("not a ring, ignored", extra={"action": "ring-ignored"})
    return None


def _put_away(message: Any, error: Exception) -> None:  # noqa: ANN401 - kombu is untyped
    """Acknowledge what is not JSON, or it would come back for ever."""
    logger.warning("not a ring, ignored", extra={"action": "ring-ignored", "error": type(error).__name__})
    message.ack()


def open_dispatcher(url: str) -> CeleryDispatcher:
    """Open the queue on the broker that `url` names; the broker need not answer yet."""
    return CeleryDispatcher(url)
