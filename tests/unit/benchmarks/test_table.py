"""The ingest table judges as it says, and refuses a run that lost something."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.corpora import Corpus, make_corpus, make_long
from benchmarks.field import MAKERS
from benchmarks.floor import Floor
from benchmarks.ingest import summarise
from benchmarks.peers import BareLoop, MissingError, Peer, Run
from benchmarks.report import Outcome, on_page, write_page
from benchmarks.sender import Part10
from benchmarks.workloads import WORKLOADS, Figures, Goal, Workload

WHERE = {"date": "-", "commit": "-", "processor": "-", "cores": 2, "kernel": "-", "python": "-"}


def _figures(rate: float, cpu_ms: float = 1.0) -> Figures:
    runs = [Run(instances=100, size_bytes=1000, seconds=100 / rate, cpu_s=cpu_ms / 10) for _ in range(3)]
    return summarise(BareLoop(), runs)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_corpus("tiny", tmp_path_factory.mktemp("corpora"), small=True, most_studies=2)


class _Holder(Peer):
    """Holds what a test puts into it."""

    name = "holder"

    def __init__(self, corpus: Corpus) -> None:
        super().__init__()
        self.held = {part.sop_instance_uid: bytes(part.dataset) for part in map(Part10.map, corpus.files)}

    def command(self, folder: Path) -> list[str]:
        raise AssertionError("never started")

    def stored(self, folder: Path, corpus: Corpus) -> set[str]:
        return set(self.held)

    def data_set(self, folder: Path, uid: str) -> bytes:
        return self.held[uid]


def test_a_server_that_holds_everything_passes(corpus: Corpus, tmp_path: Path) -> None:
    _Holder(corpus).check(tmp_path, corpus)


@pytest.mark.parametrize(
    "damage",
    [
        lambda held, uid: held.pop(uid),
        lambda held, uid: held.update({uid + "1": held[uid]}),
        lambda held, uid: held.update({uid: held[uid][:-1] + b"\x01"}),
    ],
    ids=["lost", "too many", "changed"],
)
def test_a_run_that_lost_or_changed_something_gives_no_number(
    damage: Callable[[dict[str, bytes], str], object], corpus: Corpus, tmp_path: Path
) -> None:
    holder = _Holder(corpus)
    damage(holder.held, Part10.map(corpus.sample()[0]).sop_instance_uid)
    with pytest.raises(MissingError):
        holder.check(tmp_path, corpus)


def test_medians_and_range() -> None:
    runs = [Run(instances=10, size_bytes=1000, seconds=seconds, cpu_s=seconds / 10) for seconds in (1.0, 5.0, 2.0)]
    figures = summarise(BareLoop(), runs)
    assert figures.instances_per_s == 5.0
    assert figures.instances_per_s_range == (2.0, 10.0)
    assert figures.cpu_ms == pytest.approx(20.0)


@pytest.mark.parametrize(("rate", "met"), [(299.0, False), (301.0, True)])
def test_a_goal_is_met_from_its_bound_on(rate: float, met: bool) -> None:
    goal = Goal(figure="instances/s", ours="a", theirs="b", at_least=3.0)
    value = goal.value({"a": _figures(rate), "b": _figures(100.0)})
    assert value == pytest.approx(rate / 100)
    assert goal.met(value) is met


def test_a_cost_must_stay_below_its_bound() -> None:
    goal = Goal(figure="CPU an instance", ours="a", theirs="b", at_most=0.35)
    dear = goal.value({"a": _figures(1.0, cpu_ms=3.6), "b": _figures(1.0, cpu_ms=10.0)})
    cheap = goal.value({"a": _figures(1.0, cpu_ms=3.4), "b": _figures(1.0, cpu_ms=10.0)})
    assert dear is not None
    assert cheap is not None
    assert (goal.met(dear), goal.met(cheap)) == (False, True)


def test_a_goal_whose_rival_is_absent_is_not_met_but_unmeasured() -> None:
    workload = next(row for row in WORKLOADS if row.name == "ct-4")
    outcome = Outcome(workload=workload, figures={"roi": _figures(1.0)}, absent={"orthanc": "not here"}, seconds=0.0)
    assert [(value, met) for _, _, value, met in outcome.verdicts()] == [(None, None)] * 3


def test_every_row_names_contestants_that_exist() -> None:
    named = {key for row in WORKLOADS for key in row.contestants}
    assert named == set(MAKERS)


def test_a_row_whose_goal_names_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="names what is not in the row"):
        replace(WORKLOADS[0], contestants=("orthanc",))


def test_the_page_keeps_what_stands_around_the_table(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nof yesterday\n{report.END}\nafter\n")
    workload = Workload(name="row", title="Row", corpus="ct", lanes=1, contestants=("roi",))
    outcome = Outcome(workload=workload, figures={"roi": _figures(123.0)}, absent={}, seconds=0.0)
    for _ in range(2):
        write_page(page, on_page([outcome], WHERE))
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "yesterday" not in text
    assert text.count("| bare loop | 123 |") == 1


def test_a_page_without_the_marks_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing\n")
    with pytest.raises(ValueError, match="once each"):
        write_page(page, "table")
    assert page.read_text() == "nothing\n"


def test_the_documentation_page_has_the_marks() -> None:
    page = (Path(__file__).parents[3] / "docs/benchmarks.md").read_text()
    assert (page.count(report.BEGIN), page.count(report.END)) == (1, 1)


def test_long_instances_are_whole(tmp_path: Path) -> None:
    corpus = make_long(tmp_path, number=2, pixel_bytes=1 << 20)
    lengths = [len(Part10.map(path).dataset) for path in corpus.files]
    assert min(lengths) > 1 << 20
    assert {Part10.map(path).sop_instance_uid for path in corpus.files} == corpus.instances


def test_the_bare_loop_writes_every_byte(corpus: Corpus, tmp_path: Path) -> None:
    run = BareLoop().run(corpus, 2, None, tmp_path)  # type: ignore[arg-type]
    assert run.instances == len(corpus.instances)
    assert len(run.store_s) == run.instances
    assert not (tmp_path / "bare").exists()


def test_the_floor_receives_every_byte(corpus: Corpus, tmp_path: Path) -> None:
    run = Floor().run(corpus, 2, None, tmp_path)  # type: ignore[arg-type]
    assert run.instances == len(corpus.instances)
    assert len(run.store_s) == run.instances
    assert not (tmp_path / "floor").exists()
