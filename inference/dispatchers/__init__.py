"""Doorbells: one file each, found by the scheme of the URL."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from inference.errors import DispatcherMisconfigured

if TYPE_CHECKING:
    from inference.ports import Dispatcher

_FILE_OF = {
    "child": "child",
    "redis": "celery_queue",
    "rediss": "celery_queue",
    "amqp": "celery_queue",
    "amqps": "celery_queue",
}


def open_dispatcher(url: str) -> Dispatcher:
    """Open the dispatcher that `url` names: ``child:``, ``redis://host:6379/0`` or ``amqp://user@host//``.

    Raises
    ------
    DispatcherMisconfigured
        The scheme is unknown, or the URL is not one the dispatcher can use.
    """
    name = _FILE_OF.get(urlsplit(url).scheme)
    if name is None:
        raise DispatcherMisconfigured(
            f"no dispatcher for {urlsplit(url).scheme!r}: expected one of {', '.join(sorted(_FILE_OF))}"
        )
    # Only the one asked for: a worker of the embedded set-up never imports Celery.
    dispatcher: Dispatcher = importlib.import_module(f"{__name__}.{name}").open_dispatcher(url)
    return dispatcher
