"""Holds an archive that was killed many times against what was sent to it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Container, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import sqlalchemy as sa
import urllib3

from models import registry
from roi import compose
from storage import schema
from storage.errors import ObjectMissing
from storage.ports import ObjectStore
from storage.records import MADE_HERE, ObjectKey
from tests.acceptance.site import Site
from tests.acceptance.studies import SentFile, data_set_bytes
from tests.proofs.rivals import Copies
from tests.proofs.senders import Sent

KILLED = frozenset({"process_died"})
_THROUGH_THE_WEB = 100
"""So many instances are also fetched by WADO-RS."""


@dataclass(kw_only=True)
class Ledger:
    """Counts, and a sentence for everything that does not hold."""

    figures: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def hold(self, truth: bool, sentence: str) -> None:
        """Note a violation unless it holds."""
        if not truth:
            self.violations.append(sentence)

    def once(self, what: str, seen: Iterable[object]) -> None:
        """Note everything that was seen more than once."""
        self.violations += [f"{what}: {key} {times} times" for key, times in Counter(seen).items() if times != 1]

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


def judge(site: Site, sent: Sent, followed: list[int], *, excuses: Container[str] = KILLED) -> Ledger:
    """Return what holds and what does not, once the site has come to rest; `excuses` are reasons of FAILED results."""
    ledger = Ledger()
    _judge_instances(ledger, site, sent)
    _judge_objects(ledger, site)
    facts = _judge_feed(ledger, site, followed)
    _judge_triage(ledger, site, facts, excuses)
    _judge_reports(ledger, site)
    return ledger


# ------------------------------------------------------------------------------------------------ what was received
def _judge_instances(ledger: Ledger, site: Site, sent: Sent) -> None:
    rows = site.rows_of(
        sa.select(
            schema.instances.c.sop_instance_uid, schema.instances.c.object_key, schema.instances.c.meta_bytes
        ).where(schema.instances.c.via != MADE_HERE)
    )
    ledger.once("row", (row.sop_instance_uid for row in rows))
    kept = {row.sop_instance_uid: row for row in rows}
    ledger.hold(not sent.stuck, f"senders gave up: {sent.stuck}")
    ledger.violations += [f"acknowledged and lost: {uid}" for uid in sorted(sent.acknowledged - kept.keys())]
    ledger.violations += [f"never sent: {uid}" for uid in sorted(kept.keys() - sent.files.keys())]
    objects = compose.open_objects(site.settings)
    for uid in sorted(sent.acknowledged & kept.keys()):
        row, digest = kept[uid], sent.files[uid].digest
        ledger.hold(row.object_key == digest, f"kept under another digest: {uid}")
        ledger.hold(_digest(objects, digest, row.meta_bytes) == digest, f"not the bytes that were sent: {uid}")
    for uid in sorted(sent.acknowledged & kept.keys())[:: max(1, len(sent.acknowledged) // _THROUGH_THE_WEB)]:
        ledger.hold(_fetched(site, sent.files[uid]), f"WADO-RS gives other bytes: {uid}")
    ledger.figures |= {
        "files made": len(sent.files),
        "files acknowledged": len(sent.acknowledged),
        "deliveries begun again": sent.repeated,
        "files sent again although acknowledged": sent.sent_twice,
        "instances kept": len(kept),
    }


def _digest(objects: ObjectStore, key: str, offset: int) -> str | None:
    try:
        with objects.open(ObjectKey(key), offset=offset) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
    except ObjectMissing:
        return None


def _fetched(site: Site, file: SentFile) -> bool:
    try:
        return hashlib.sha256(site.data_set_of(file)).hexdigest() == file.digest
    except (AssertionError, urllib3.exceptions.HTTPError):  # refused, or cut where the digest was found wrong
        return False


def _judge_objects(ledger: Ledger, site: Site) -> None:
    """Every object, needed by a row or not, is whole: its data set has the digest that names it."""
    objects = compose.open_objects(site.settings)
    keys = sorted(objects.keys())
    for key in keys:
        with objects.open(key) as stream:
            whole = hashlib.sha256(data_set_bytes(stream.read())).hexdigest() == key
        ledger.hold(whole, f"half an object: {key}")
    report = site.verify()
    ledger.hold(not report["missing"], f"roi verify: missing {report['missing']}")
    ledger.hold(not report["corrupt"], f"roi verify: corrupt {report['corrupt']}")
    ledger.figures |= {"objects": len(keys), "unreferenced objects (harmless)": len(report["unreferenced"])}


def judge_copies(ledger: Ledger, site: Site, copies: Copies) -> None:
    """Every copy that was refused as a conflict lies in quarantine once, and none was called stored."""
    aside = site.rows_of(sa.select(schema.quarantine.c.sop_instance_uid, schema.quarantine.c.object_key))
    found = [(row.sop_instance_uid, row.object_key) for row in aside]
    ledger.once("quarantined copy", found)
    ledger.violations += [f"refused and not in quarantine: {copy}" for copy in sorted(copies.refused - set(found))]
    ledger.violations += [f"in quarantine, never sent: {copy}" for copy in sorted(set(found) - copies.tried)]
    ledger.violations += [f"other content called stored: {copy}" for copy in sorted(copies.taken)]
    ledger.figures |= {
        "conflicting copies refused": len(copies.refused),
        "copies in quarantine": len(found),
        "re-encoded copies": copies.reencoded,
    }


def judge_orphans(ledger: Ledger, site: Site) -> None:
    """After a scrub there is no object that no row needs."""
    left = site.verify()["unreferenced"]
    ledger.violations += [f"orphan: {key}" for key in left]
    ledger.figures["orphans after scrub"] = len(left)


# ---------------------------------------------------------------------------------------------------- what was said
def _judge_feed(ledger: Ledger, site: Site, followed: list[int]) -> dict[str, list[tuple[str, int]]]:
    """Return (study, revision) of each fact by kind; every fact was told once, and no reader missed one."""
    feed = site.changes()
    ledger.once("seq in the feed", (change["seq"] for change in feed))
    ledger.hold(followed == [change["seq"] for change in feed], "a reader with a cursor missed or doubled a fact")
    ledger.once("instance-stored", (each["sop_instance_uid"] for each in feed if each["kind"] == "instance-stored"))
    facts: dict[str, list[tuple[str, int]]] = {"study-complete": [], "study-triaged": []}
    for change in feed:
        if change["kind"] in facts:
            facts[change["kind"]].append((change["study_instance_uid"], change["revision"]))
    for kind, told in facts.items():
        ledger.once(kind, told)
    ledger.figures |= {"facts in the feed": len(feed), **{f"{kind} facts": len(told) for kind, told in facts.items()}}
    return facts


# --------------------------------------------------------------------------------------------------- what was judged
def _judge_triage(ledger: Ledger, site: Site, facts: dict[str, list[tuple[str, int]]], excuses: Container[str]) -> None:
    studies = {row.study_instance_uid: row for row in site.rows_of(sa.select(schema.studies))}
    for uid, study in studies.items():
        ledger.hold(study.state == "TRIAGED", f"study not at rest: {uid} is {study.state}")
        ledger.hold((uid, study.revision) in facts["study-triaged"], f"no study-triaged fact: {uid} {study.revision}")
    jobs = _jobs(site)
    expected = _expected_jobs(site, facts["study-complete"])
    seen = [(job.study_instance_uid, job.revision, job.model_id) for job in jobs]
    ledger.once("job", seen)
    ledger.violations += [f"no job: {key}" for key in sorted(expected - set(seen))]
    ledger.violations += [f"job nobody asked for: {key}" for key in sorted(set(seen) - expected)]
    whole = sa.select(schema.results.c.job_id, schema.results.c.outcome, schema.results.c.reason)
    results = site.rows_of(whole.where(schema.results.c.provisional.is_(None)))
    ledger.once("result of job", (row.job_id for row in results))
    ledger.hold({row.job_id for row in results} == {job.id for job in jobs}, "a job without a result")
    for job in jobs:
        ledger.hold(job.state in {"DONE", "FAILED"}, f"job left {job.state}: {job.id}")
    for row in results:
        excused = row.reason in excuses
        ledger.hold(row.outcome != "FAILED" or excused, f"failed without an excuse: {row.reason}")
    _judge_effect(ledger, site)
    _judge_predictions(ledger, site, jobs)
    outcomes = Counter(row.outcome for row in results)
    ledger.figures |= {"studies": len(studies), "jobs": len(jobs), "results": len(results)}
    ledger.figures |= {f"results {outcome}": number for outcome, number in sorted(outcomes.items())}


def _judge_reports(ledger: Ledger, site: Site) -> None:
    """Every result is told by objects that are kept, each once, and nothing else was made here."""
    results, instances = schema.results, schema.instances
    columns = (results.c.id, results.c.outcome, results.c.reported_at, results.c.objects)
    told = site.rows_of(sa.select(*columns).where(results.c.provisional.is_(None)))
    named = [each["sop_instance_uid"] for row in told for each in row.objects or ()]
    kept = site.rows_of(sa.select(instances.c.sop_instance_uid).where(instances.c.via == MADE_HERE))
    ledger.once("object of a result", named)
    ledger.violations += [f"result not told: {row.id}" for row in told if row.reported_at is None or not row.objects]
    ours = {row.sop_instance_uid for row in kept}
    ledger.violations += [f"object of a result lost: {uid}" for uid in sorted(set(named) - ours)]
    ledger.violations += [f"object of no result: {uid}" for uid in sorted(ours - set(named))]
    ledger.figures["objects of results"] = len(kept)


def _judge_effect(ledger: Ledger, site: Site) -> None:
    """One result stands for each study and model; a later revision's supersedes it."""
    results, studies = schema.results, schema.studies
    standing = (
        sa.select(studies.c.study_instance_uid, results.c.model_id)
        .join_from(results, studies, studies.c.id == results.c.study_pk)
        .where(results.c.superseded_by.is_(None))
    )
    ledger.once("result that stands", (tuple(row) for row in site.rows_of(standing)))
    flags = site.rows_of(sa.select(results.c.job_id, results.c.superseded_by).where(results.c.provisional.is_not(None)))
    left = [row.job_id for row in flags if row.superseded_by is None]
    ledger.hold(not left, f"provisional flags that no result on all of the series settled: {left}")
    ledger.figures["provisional flags"] = len(flags)


def _judge_predictions(ledger: Ledger, site: Site, jobs: list[sa.Row[Any]]) -> None:
    """A prediction was made at least once for each result, and again only where a kill cut an attempt."""
    predictions = Counter(line["job"] for line in site.log_lines("prediction-made"))
    commits = Counter(line["job"] for line in site.log_lines("result-committed"))
    for job in jobs:
        made, told = predictions[job.id], commits[job.id]
        ledger.hold(made >= 1 or job.state == "FAILED", f"a result without a prediction: {job.id}")
        ledger.hold(made <= job.attempts, f"{made} predictions in {job.attempts} attempts: {job.id}")
        ledger.hold(told <= 1, f"{told} results committed: {job.id}")
    ledger.figures |= {
        "predictions made": predictions.total(),
        "predictions beyond one a job": sum(max(0, predictions[job.id] - 1) for job in jobs),
        "attempts that a kill cut": sum(job.attempts - 1 for job in jobs),
    }


def _jobs(site: Site) -> list[sa.Row[Any]]:
    jobs, studies = schema.jobs, schema.studies
    joined = sa.select(jobs, studies.c.study_instance_uid).join_from(jobs, studies, studies.c.id == jobs.c.study_pk)
    return list(site.rows_of(joined.where(jobs.c.provisional == 0)))


def _expected_jobs(site: Site, completed: list[tuple[str, int]]) -> set[tuple[str, int, str]]:
    """Return what the installed cards ask for: one job where a completed revision brought what a card accepts."""
    instances, series, studies = schema.instances, schema.series, schema.studies
    arrived = site.rows_of(
        sa.select(studies.c.study_instance_uid, instances.c.revision, instances.c.sop_class_uid, series.c.modality)
        .join_from(instances, series, series.c.id == instances.c.series_pk)
        .join(studies, studies.c.id == instances.c.study_pk)
        .distinct()
    )
    return {
        (row.study_instance_uid, row.revision, card.id)
        for row in arrived
        for card in registry.cards()
        if (row.study_instance_uid, row.revision) in set(completed)
        and card.input_rules.accepts(modality=row.modality, sop_class_uid=row.sop_class_uid)
    }
