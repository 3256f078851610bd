"""The benchmark of the workers' rate: an archive that waits, and what is reckoned from the results' times."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import worker_rate
from models import registry
from roi.compose import open_archive
from roi.settings import read_settings
from storage.catalog import jobs

CHEST = worker_rate.CASES[0]


def test_every_study_of_a_case_waits_with_one_job(tmp_path: Path) -> None:
    settings = read_settings(data=tmp_path / "data")
    assert worker_rate.fill(settings, replace(CHEST, studies=3)) == 1
    archive = open_archive(settings)
    with archive.database.read() as tx:
        assert jobs.count_open(tx, registry.card(CHEST.model).digest) == 3
    archive.close()


def test_each_stage_counts_from_the_one_before_at_the_middle_of_the_jobs() -> None:
    order = ("claimed", "selected", "decoded", "gated", "predicted", "committed")
    times = [{stage: at * slow for at, stage in enumerate(order)} for slow in (0.001, 0.002, 0.5)]
    assert worker_rate._stages_ms(times) == dict.fromkeys(order[1:], 2.0)


def test_a_rate_is_of_the_second_half_of_the_results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    at = [100.0, 200.0, 201.0, 202.0, 203.0, 204.0]
    order = ("claimed", "selected", "decoded", "gated", "predicted")
    monkeypatch.setattr(worker_rate, "fill", lambda *_: 32)
    monkeypatch.setattr(worker_rate, "working", lambda *_: open(tmp_path / "log", "w"))  # noqa: SIM115, PTH123
    monkeypatch.setattr(worker_rate, "_await_results", lambda *_: None)
    monkeypatch.setattr(
        worker_rate, "_times", lambda *_: [dict.fromkeys(order, 0.0) | {"committed": end} for end in at]
    )
    bare = worker_rate.Bare(device="cpu", alone=64.0, there_and_back=60.0, logits_apart=0.0)
    rate = worker_rate.rate_of(CHEST, 1, bare, tmp_path / "data", reports=None)
    assert (rate.images_per_s, rate.share) == (32.0, 0.5)
