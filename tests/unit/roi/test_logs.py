"""A log line carries its action and allowed fields, and never what a library said about a patient."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

import pytest

from roi import logs
from storage.errors import ObjectMissing


def _lines(capsys: pytest.CaptureFixture[str], say: Callable[[logging.Logger], None]) -> list[dict[str, object]]:
    """What `say` leaves on standard error."""
    root = logging.getLogger()
    before = (root.handlers, root.level)
    logs.configure("test", "json")
    try:
        say(logging.getLogger("x"))
    finally:
        root.handlers, root.level = before
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_only_allowed_fields_pass(capsys: pytest.CaptureFixture[str]) -> None:
    extra = {"action": "study-complete", "patient_name": "ZZ^PHI"}
    (line,) = _lines(capsys, lambda logger: logger.info("study complete", extra=extra))
    assert line["event"] == "study complete"
    assert (line["action"], line["role"]) == ("study-complete", "test")
    assert "ZZ^PHI" not in json.dumps(line)


def test_a_librarys_words_are_left_out_of_a_traceback_and_ours_stay(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(logger: logging.Logger) -> None:
        try:
            try:
                int("ZZ^PHI")
            except ValueError as error:
                raise ObjectMissing("no object under abc") from error
        except ObjectMissing:
            logger.exception("a step failed", extra={"action": "step-failed"})

    (line,) = _lines(capsys, fail)
    text = str(line["exception"])
    assert "ZZ^PHI" not in json.dumps(line)
    assert "builtins.ValueError" in text
    assert "storage.errors.ObjectMissing: no object under abc" in text
    assert "test_logs.py" in text


def test_libraries_that_name_instances_are_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    def say(logger: logging.Logger) -> None:
        logger.info("ours")
        for name in ("highdicom.base", "pydicom", "pynetdicom.acse"):
            logging.getLogger(name).info("copy attributes from 2.25.1")

    assert [line["event"] for line in _lines(capsys, say)] == ["ours"]
