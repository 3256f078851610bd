"""`roi triage`: what flags would do, and did, to those who wait."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from roi.commands.options import AsJson, Config, Data, Model, Readers, ReadingMinutes, ThemAsJson, settings_of

app = typer.Typer(help="What the models' flags do to those who wait.", no_args_is_help=True)


@app.command()
def simulate(
    model: Model,
    prevalence: Annotated[
        float, typer.Option(help="Share of the studies it looks at that has the finding.", min=0, max=1)
    ],
    finding: Annotated[str | None, typer.Option(help="Code of the finding [the model's first].")] = None,
    readers: Readers = 1,
    minutes: ReadingMinutes = 10.0,
    days: Annotated[int, typer.Option(help="Days of this archive's arrivals to draw from.", min=1, max=3660)] = 56,
    traffic: Annotated[
        float | None,
        typer.Option(
            help="A steady load in place of the archive's arrivals: share of the readers' time.", min=0, max=1
        ),
    ] = None,
    eligible: Annotated[
        float | None, typer.Option(help="Share of all studies that the model looks at [by modality].", min=0, max=1)
    ] = None,
    sensitivity: Annotated[float | None, typer.Option(help="In place of the card's.", min=0, max=1)] = None,
    specificity: Annotated[float | None, typer.Option(help="In place of the card's.", min=0, max=1)] = None,
    seed: Annotated[int, typer.Option(help="Seed of the weeks that are drawn.")] = 0,
    data: Data = None,
    config: Config = None,
    json: AsJson = False,
) -> None:
    """Show what a model's flags would do here: how many are right, who gains minutes, and who loses them."""
    from inference.inquiry import Inquiry
    from roi.triage import simulate as run

    inquiry = Inquiry(
        model=model,
        finding=finding,
        prevalence=prevalence,
        readers=readers,
        reading_min=minutes,
        days=days,
        traffic=traffic,
        eligible=eligible,
        sensitivity=sensitivity,
        specificity=specificity,
        seed=seed,
    )
    run(settings_of(config, data=data), inquiry, as_json=json)


@app.command()
def replay(
    day: Annotated[datetime, typer.Option(help="The day, as 2026-03-01.", formats=["%Y-%m-%d"])],
    readers: Annotated[
        int | None, typer.Option(help="Readers that are assumed [as it was really read].", min=1, max=100)
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Minutes that each of them takes for a study.", min=0.1, max=600)
    ] = None,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Flags that may not move the list count as if they might.")
    ] = False,
    data: Data = None,
    config: Config = None,
    json: AsJson = False,
) -> None:
    """Read a day of this archive again, without AI and by arrival: minutes gained and lost by each group."""
    from inference.replay import Room
    from roi.errors import SettingWrong
    from roi.replay import replay_day

    if (readers is None) is not (minutes is None):
        raise SettingWrong("give both --readers and --minutes, or neither")
    room = None if readers is None or minutes is None else Room(readers=readers, reading_min=minutes)
    replay_day(settings_of(config, data=data), day, room=room, shadow=shadow, as_json=json)


@app.command()
def targets(
    wanted: Annotated[
        list[str] | None, typer.Option("--set", help="CLASS=MINUTES, as often as wanted, such as URGENT=30.")
    ] = None,
    by: Annotated[str, typer.Option(help="Who sets them, for the audit.")] = "",
    data: Data = None,
    config: Config = None,
    json: ThemAsJson = False,
) -> None:
    """Show, or set, how soon each class of study is to be read, and what that promises to those who wait."""
    from roi.targets import change, show

    settings = settings_of(config, data=data)
    if wanted:
        change(settings, wanted, by=by, as_json=json)
    else:
        show(settings, as_json=json)
