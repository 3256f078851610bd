"""The figures for Prometheus: its grammar, bounded labels, no patient, and the totals of the coverage."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping

import pytest
from fastapi.testclient import TestClient

from api import ApiContext, create_app
from api.exposition import Family, written
from storage.archive import Archive
from storage.catalog import changes
from storage.records import Coverage, Outcome
from tests import builders
from tests.browser.scene import CHEST, HEAD, Scene, Told, fill
from tests.unit.api.conftest import BASE
from tests.unit.api.test_times import judged

SAMPLE = re.compile(
    r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)"
    r'(?:\{(?P<labels>(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*)\})? '
    r"(?P<value>-?[0-9.e+-]+|NaN|[+-]Inf)"
)
LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def read(text: str) -> Samples:
    """Take the text apart by the grammar of the format; every sample stands below its family's type."""
    samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    family = ""
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            family = line.split(" ")[2]
        elif not line.startswith("# HELP "):
            found = SAMPLE.fullmatch(line)
            assert found, line
            assert found["name"].startswith(family)
            key = (found["name"], frozenset(LABEL.findall(found["labels"] or "")))
            assert key not in samples, line
            samples[key] = float(found["value"])
    assert text.endswith("\n")
    return samples


def of(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


@pytest.fixture
def scene(archive: Archive, clock: builders.Clock) -> Scene:
    return Scene(archive, clock)


def test_counters_follow_what_happens_from_the_first_look_on(client: TestClient, scene: Scene) -> None:
    before = read(client.get("/metrics").text)
    assert of(before, "roi_changes_total", kind="instance-stored") == 0
    told = Told(number=1, name="A", age_years=1, sex="F", description="CT", images=2, minutes_ago=0)
    judged(scene, told)
    after = read(client.get("/metrics").text)
    assert of(after, "roi_changes_total", kind="instance-stored") == 2
    assert of(after, "roi_results_total", model="trial", outcome="FLAGGED") == 1
    assert of(after, "roi_flag_seconds_count", model="trial") == 1
    assert of(after, "roi_flag_seconds_bucket", model="trial", le="2.5") == 0
    assert of(after, "roi_flag_seconds_bucket", model="trial", le="5") == 1
    again = read(client.get("/metrics").text)
    assert of(again, "roi_results_total", model="trial", outcome="FLAGGED") == 1


def test_coverage_states_add_up_to_the_studies_and_are_those_of_the_api(
    context: ApiContext, archive: Archive, clock: builders.Clock
) -> None:
    object.__setattr__(context, "cards", (HEAD, CHEST))
    fill(Scene(archive, clock))
    with TestClient(create_app(context), base_url=BASE) as client:
        samples = read(client.get("/metrics").text)
        told = client.get("/api/triage/coverage?days=1").json()
    assert told["studies"] == of(samples, "roi_coverage_studies") == 12
    for model in told["models"]:
        name = model["model_id"]
        states = {state: of(samples, "roi_coverage", model=name, state=state) for state in Coverage}
        assert states == model["states"]
        assert sum(states.values()) == 12
    assert of(samples, "roi_jobs", model=HEAD.id, state="WAITING") == 2
    assert of(samples, "roi_jobs", model=HEAD.id, state="RUNNING") == 1
    assert of(samples, "roi_jobs_of_day", model=HEAD.id, state="FAILED") == 1
    assert of(samples, "roi_queue_age_seconds", model=HEAD.id) > 0
    assert of(samples, "roi_studies", state="RECEIVING") == 2


def test_nothing_of_a_patient_and_no_label_without_bound_is_told(
    context: ApiContext, archive: Archive, clock: builders.Clock
) -> None:
    object.__setattr__(context, "cards", (HEAD,))  # results of the other model are there: under one name for all
    with TestClient(create_app(context), base_url=BASE) as client:
        client.get("/metrics")
        judged(Scene(archive, clock), Told(number=77, name="A", age_years=1, sex="F", description="CT", minutes_ago=0))
        clock.now = builders.START
        fill(Scene(archive, clock))
        text = client.get("/metrics").text
    assert not re.search(r"2\.25\.|BN0|A000|Nguy|script|CLVT|127\.0\.0\.1", text)
    seen: defaultdict[str, set[str]] = defaultdict(set)
    for _, labels in read(text):
        for name, value in labels:
            seen[name].add(value)
    assert set(seen) == {"model", "outcome", "state", "kind", "stage", "le", "mark", "version"}
    assert seen["model"] == {HEAD.id, "other"}
    assert seen["outcome"] == set(Outcome)
    assert seen["kind"] == set(changes.KINDS)


def test_a_scraper_is_told_the_format_and_guarded_like_everybody(client: TestClient) -> None:
    assert client.get("/metrics").headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert client.get("/metrics", headers={"Host": "other.example"}).status_code == 421
    assert client.post("/metrics").status_code == 405


def test_labels_and_help_are_escaped() -> None:
    family = Family(name="a", kind="gauge", help="one\ntwo \\")
    family.add(1.5, x='"\n\\')
    family.add(2)
    assert written([family, Family(name="empty", kind="gauge", help="")]) == (
        '# HELP a one\\ntwo \\\\\n# TYPE a gauge\na{x="\\"\\n\\\\"} 1.5\na 2\n'
    )
