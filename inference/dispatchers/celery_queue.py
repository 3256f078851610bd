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
_AWAY = (OperationalError, KombuError, ConnectionError, OSError)


class CeleryDispatcher:
    """Publishes rings and hears them through a Celery worker of one thread.

    Messages are JSON, expire, and carry a job's id alone.  Acknowledged on receipt: redelivery would only ring
    again, and the claim in the job table decides who runs.
    """

    def __init__(self, url: str) -> None:
        self._app = Celery("roi", broker=url, set_as_current=False)
        self._app.conf.update(
            task_ignore_result=True,
            task_serializer="json",
            accept_content=["json"],
            task_default_queue=_QUEUE,
            worker_prefetch_multiplier=1,
            worker_hijack_root_logger=False,
            worker_enable_remote_control=False,
            worker_cancel_long_running_tasks_on_connection_loss=False,
            worker_redirect_stdouts=False,
            broker_connection_retry_on_startup=True,
            broker_connection_max_retries=None,
            broker_connection_timeout=_CONNECT_S,
            broker_transport_options={"socket_connect_timeout": _CONNECT_S, "socket_timeout": 10},
            task_publish_retry=False,
        )
        self._on_wake: Callable[[JobId], None] = lambda _job: None
        self._app.task(name=_TASK, bind=False)(self._heard)

    def wake(self, job: JobId) -> None:
        """Ring for a job that waits; a broker that is away costs a look at the table, no more."""
        try:
            self._app.send_task(_TASK, args=(job,), expires=3600, queue=_QUEUE)
        except _AWAY as error:
            logger.warning(
                "broker away, ring lost", extra={"action": "ring-lost", "job": job, "error": type(error).__name__}
            )

    @contextmanager
    def listen(self, on_wake: Callable[[JobId], None]) -> Iterator[None]:
        """Hear rings in a thread of a Celery worker (solo pool) until the block ends."""
        self._on_wake = on_wake
        worker = self._app.WorkController(
            pool="solo",
            concurrency=1,
            queues=[_QUEUE],
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )
        thread = threading.Thread(target=_start, args=(worker,), name="celery-doorbell", daemon=True)
        thread.start()
        try:
            yield
        finally:
            worker.stop()
            thread.join(timeout=5)

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

    def _heard(self, job: str) -> None:
        self._on_wake(JobId(job))


def _start(worker: Any) -> None:  # noqa: ANN401 - Celery is untyped
    # Celery stops by raising SystemExit subclasses, also in a thread.
    try:
        worker.start()
    except SystemExit:
        logger.info("doorbell stopped", extra={"action": "doorbell-stopped"})


def open_dispatcher(url: str) -> CeleryDispatcher:
    """Open the queue on the broker that `url` names; the broker need not answer yet."""
    return CeleryDispatcher(url)
