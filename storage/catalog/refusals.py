"""Why a model is not asked about a study: a person's wish, or the site's word."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import sqlalchemy as sa

from storage import schema
from storage.catalog import opt_outs, stops
from storage.catalog.deployments import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storage.catalog.deployments import ModelRef
    from storage.database import Transaction
    from storage.records import StudyUid

_deployments = schema.deployments


class Refusal(StrEnum):
    """Reason codes of jobs that are not run."""

    PERSON = "person_opted_out"
    STOPPED = "model_stopped"
    RETIRED = "model_retired"


def of(tx: Transaction, uid: StudyUid, models: Sequence[ModelRef]) -> dict[str, Refusal]:
    """Return, by digest, why models are not asked about a study; what may be asked is left out.

    A person's wish goes before the site's word: it is what the reader should see.
    """
    if not models:
        return {}
    digests = [model.digest for model in models]
    query = sa.select(_deployments.c.model_digest).where(
        _deployments.c.model_digest.in_(digests), _deployments.c.status == Status.RETIRED
    )
    refused = dict.fromkeys(tx.execute(query).scalars(), Refusal.RETIRED)
    going = [model for model in models if model.digest not in refused]
    if opt_outs.stands_for(tx, uid):
        return refused | {model.digest: Refusal.PERSON for model in going}
    stopped = {stop.model_id for stop in stops.every(tx)}
    return refused | {model.digest: Refusal.STOPPED for model in going if stopped & {model.id, stops.EVERY}}
