"""How soon each class of study is to be read: what is set, what it promises to those who wait, and setting it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import Field

from api import words
from api.actor import Actor
from api.answers import as_json
from api.context import ApiContext, Context
from api.document import refused
from inference import targets
from storage.catalog import targets as kept

router = APIRouter(prefix="/api/targets", tags=["targets"])

Minutes = Annotated[int, Field(ge=1, le=targets.MOST_MINUTES)]


class TargetsChange(Actor):
    """Minutes for some of the classes, and who sets them."""

    targets: Annotated[dict[str, Minutes], Field(min_length=1, max_length=len(targets.DEFAULTS))]


@router.api_route("", methods=["GET", "HEAD"])
def show(context: Context) -> Response:
    """Return every class's target, and the guarantee between every two classes."""
    return as_json(targets_of(context))


@router.put("", responses=refused(409))
def change(context: Context, told: TargetsChange) -> Response:
    """Set targets, and move every waiting study to where it now belongs; return what holds then."""
    with context.archive.database.write() as tx:
        targets.change(tx, told.targets, by=told.by, now=context.clock())
    return as_json(targets_of(context))


def targets_of(context: ApiContext) -> dict[str, Any]:
    """Return targets and guarantees, each in words too."""
    with context.archive.database.read() as tx:
        minutes = targets.minutes_now(tx)
        set_by = kept.all_kept(tx)
    return {
        "targets": [_target(name, minutes, set_by.get(name)) for name in minutes],
        "guarantees": [_guarantee(each) for each in targets.guarantees(minutes)],
    }


def _target(name: str, minutes: dict[str, int], was_set: kept.KeptTarget | None) -> dict[str, Any]:
    text = words.CLASSES[name]
    return {
        "class": name,
        "minutes": minutes[name],
        "default_minutes": targets.DEFAULTS[name],
        "set_by": was_set.set_by if was_set else None,
        "set_at": was_set.set_at if was_set else None,
        "text": text.both(),
    }


def _guarantee(each: targets.Guarantee) -> dict[str, Any]:
    ahead, behind = words.CLASSES[each.ahead], words.CLASSES[each.behind]
    return {
        "ahead": each.ahead,
        "behind": each.behind,
        "minutes": each.minutes,
        "text": words.GUARANTEE.filled(ahead=ahead, behind=behind, minutes=each.minutes).both(),
    }
