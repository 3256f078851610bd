"""A model held against labelled studies of this site, and thresholds of the site's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from roi.commands.options import AsJson, By, Config, Data, Finding, Model, Readers, ReadingMinutes, Why, settings_of

app = typer.Typer()

Labels = Annotated[Path, typer.Option(help="CSV file: study, finding, truth (1 or 0).", exists=True, dir_okay=False)]
HalfWidth = Annotated[float, typer.Option(help="A rate is known where its interval is this wide to each side.")]


@app.command()
def check(
    model: Model,
    labels: Labels,
    by: By,
    half_width: HalfWidth = 0.10,
    cases: Annotated[int, typer.Option(help="Labelled cases wanted at least.", min=200)] = 200,
    readers: Readers = 1,
    minutes: ReadingMinutes = 10.0,
    data: Data = None,
    config: Config = None,
    json: AsJson = False,
) -> None:
    """Hold a model against labelled studies of this site; what was found is kept, and shown when it is enabled."""
    from inference.local_check import Wanted
    from roi.model_check import check as run

    wanted = Wanted(cases=cases, half_width=half_width)
    settings = settings_of(config, data=data)
    run(settings, model, labels=labels, by=by, wanted=wanted, readers=readers, minutes=minutes, as_json=json)


@app.command()
def threshold(
    model: Model,
    finding: Finding,
    labels: Labels,
    rule: Annotated[str, typer.Option(help="sensitivity or specificity: which of them the target is for.")],
    target: Annotated[float, typer.Option(help="The rate to reach.", min=0, max=1)],
    by: By,
    half_width: HalfWidth = 0.10,
    data: Data = None,
    config: Config = None,
) -> None:
    """Choose this site's own threshold on its labelled studies; the card stays as it is."""
    from roi.model_check import choose_threshold

    settings = settings_of(config, data=data)
    choose_threshold(
        settings, model, finding=finding, labels=labels, rule=rule, target=target, half_width=half_width, by=by
    )


@app.command()
def card_threshold(
    model: Model,
    finding: Finding,
    by: By,
    why: Why,
    data: Data = None,
    config: Config = None,
) -> None:
    """Go back to the threshold on the model's card."""
    from roi.model_check import end_threshold

    end_threshold(settings_of(config, data=data), model, finding=finding, by=by, why=why)
