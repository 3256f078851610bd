"""Log lines: fixed text, an action word, and fields from an allow-list; JSON for machines, plain for a terminal.

Error texts of libraries may quote what they were reading, so a traceback here shows where, and the error's class,
but its words only where the error is one of ours, which never carry patient data.
"""

from __future__ import annotations

import logging
import sys
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, TextIO

import structlog

if TYPE_CHECKING:
    from structlog.typing import EventDict, WrappedLogger

FIELDS = (
    "action",
    "address",
    "aet",
    "associations",
    "attempts",
    "bytes",
    "called_aet",
    "calling_aet",
    "command",
    "error",
    "flagged",
    "instance",
    "instances",
    "job",
    "loop",
    "method",
    "model",
    "object",
    "objects",
    "outcome",
    "pid",
    "port",
    "reason",
    "request",
    "revision",
    "role",
    "route",
    "seconds",
    "status",
    "study",
    "waiting",
    "workitems",
)
"""The only fields that reach a log line; a record's other `extra` values are dropped."""

_OURS = ("api.", "inference.", "models.", "pacs_gateway.", "roi.", "storage.", "web.")


def configure(role: str, form: Literal["auto", "json", "console"] = "auto") -> None:
    """Send this process's log to standard error."""
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    render = structlog.dev.ConsoleRenderer(colors=False) if console else structlog.processors.JSONRenderer()

    def add_role(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {**event, "role": event.get("role", role)}

    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.ExtraAdder(allow=FIELDS),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            add_role,
            _where_it_broke,
        ],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
    )
    handler = _Stream(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.captureWarnings(capture=False)


_QUIET = (
    *("pynetdicom", "pydicom", "highdicom", "celery", "kombu", "amqp", "urllib3", "uvicorn", "uvicorn.access"),
    "alembic",
)
"""Libraries whose words on what they do name instances, or say nothing."""


class _Stream(logging.StreamHandler[TextIO]):
    """Standard error; a line that cannot be written is counted in words that quote nothing of it."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        with suppress(OSError, ValueError):
            sys.stderr.write(f'{{"event": "a log line was lost", "logger": "{record.name}"}}\n')


def _where_it_broke(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace exception information by frames and classes."""
    record = event.get("_record")
    if not isinstance(record, logging.LogRecord) or not record.exc_info or record.exc_info[1] is None:
        return event
    error = record.exc_info[1]
    record.exc_info = None
    event.pop("exc_info", None)
    event["exception"] = describe(error)
    return event


def describe(error: BaseException) -> str:
    """Return an error chain as text: frames, classes, and the words of our own errors."""
    parts: list[str] = []
    seen: BaseException | None = error
    while seen is not None:
        frames = "".join(
            f"  {frame.filename}:{frame.lineno} {frame.name}\n" for frame in traceback.extract_tb(seen.__traceback__)
        )
        kind = type(seen)
        words = f": {seen}" if kind.__module__.startswith(_OURS) else ""
        parts.append(f"{frames}{kind.__module__}.{kind.__qualname__}{words}")
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return "\ncaused by\n".join(parts)
