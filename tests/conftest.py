"""What every test may use, and the rule that nothing is skipped unseen."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ["tests.servers.fixtures"]

EXPECTED_SKIPS = ("no GPU", "no landlock")
"""How a reason may begin where CI skips a test; any other skip there fails the run."""

_skipped = pytest.StashKey[dict[str, str]]()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real files beside the project; its README tells what each is."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not (folder / "README.md").exists():
        pytest.skip(f"no real data: {folder} is missing")
    return folder


def pytest_configure(config: pytest.Config) -> None:
    """Begin without a skip."""
    config.stash[_skipped] = {}
    config.pluginmanager.register(_SkipWatch(config.stash[_skipped]))


class _SkipWatch:
    """Notes each skip with its reason."""

    def __init__(self, skipped: dict[str, str]) -> None:
        self._skipped = skipped

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test, or one of its fixtures, was skipped."""
        self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A whole module was skipped."""
        self._note(report)

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail") and isinstance(report.longrepr, tuple):
            self._skipped[report.nodeid] = report.longrepr[2].removeprefix("Skipped: ")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """One of several processes has ended: hear which whole modules it skipped, which it tells nobody else."""
    node.config.stash[_skipped].update(getattr(node, "workeroutput", {}).get("skipped", {}))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a CI run that skipped what CI can run."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["skipped"] = session.config.stash[_skipped]
    if _unexpected(session.config) and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say why."""
    for test, reason in _unexpected(config).items():
        terminalreporter.write_line(f"SKIPPED IN CI, which fails the run: {test}: {reason}", red=True)


def _unexpected(config: pytest.Config) -> dict[str, str]:
    if os.environ.get("CI") != "true":
        return {}
    return {test: why for test, why in config.stash[_skipped].items() if not why.startswith(EXPECTED_SKIPS)}
