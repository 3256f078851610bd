"""Our gateway and DCMTK's storescp hear the same byte streams, and answer as the table says (PS3.8 9, PS3.7 9, 10).

Where they differ, the conformance statement says why; ``tests.conformance.dimse.dialogues`` is the table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.dimse.corpus import running_site
from tests.conformance.dimse.dialogues import DIALOGUES, Dialogue, converse
from tests.conformance.dimse.test_statement import STATEMENT
from tests.raw_scu import echo_status
from tests.servers.dcmtk import NO_DELAY, dcmtk
from tests.servers.process import Program, Server, connects, free_port

_OPEN_S = 2.0
"""An acceptor that waits is waited for so long, in place of for ever."""
_PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def ours() -> Iterator[int]:
    """The port of our gateway."""
    with running_site() as site:
        yield site.port
        assert echo_status(site.port) == 0


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a storescp, with our title and short timers, and a process for each association."""
    folder, port = tmp_path_factory.mktemp("storescp"), free_port()
    timers = ("-ta", "1", "-td", "1", "-ts", "1")
    program = Program(
        name="storescp",
        command=[str(dcmtk("storescp")), "--fork", "-aet", "ROI", *timers, "-od", str(folder), str(port)],
        folder=folder,
        is_ready=lambda: connects(port),
        env=NO_DELAY,
    )
    with Server(program, ""):
        yield port


@pytest.mark.parametrize("dialogue", DIALOGUES, ids=lambda dialogue: dialogue.name)
def test_our_gateway_answers_as_the_table_says(ours: int, dialogue: Dialogue) -> None:
    assert converse(ours, dialogue.sent, timeout_s=_PATIENCE_S) == dialogue.heard


@pytest.mark.servers
@pytest.mark.parametrize("dialogue", DIALOGUES, ids=lambda dialogue: dialogue.name)
def test_storescp_answers_the_same_or_as_the_table_says(theirs: int, dialogue: Dialogue) -> None:
    expected = dialogue.heard if dialogue.theirs is None else dialogue.theirs
    patience_s = _OPEN_S if "open" in expected else _PATIENCE_S
    assert converse(theirs, dialogue.sent, timeout_s=patience_s) == expected


def test_every_difference_has_its_reason_in_the_statement() -> None:
    reasons = {dialogue.why for dialogue in DIALOGUES if dialogue.theirs is not None}
    assert {bool(dialogue.why) for dialogue in DIALOGUES if dialogue.theirs is None} == {False}
    assert all(dialogue.theirs != dialogue.heard for dialogue in DIALOGUES)
    section = (
        Path(STATEMENT).read_text(encoding="utf-8").partition("## Beside another acceptor\n")[2].partition("\n## ")[0]
    )
    listed = {" ".join(entry.split()) for entry in re.findall(r"^- ((?:.|\n  )+)", section, re.MULTILINE)}
    assert listed == reasons
