"""What a model said: taken back, and told week by week."""

from __future__ import annotations

from typing import Annotated

import typer

from roi.commands.options import AsJson, By, Config, Data, Model, Why, settings_of

app = typer.Typer()


@app.command()
def retract(
    result: Annotated[str, typer.Argument(help="Id of a result.")],
    by: By,
    why: Why,
    data: Data = None,
    config: Config = None,
) -> None:
    """Take back what a model said of a study; a raise that rested on it falls away."""
    from roi.models import retract as run

    run(settings_of(config, data=data), result, by=by, why=why)


@app.command()
def report(
    model: Model,
    weeks: Annotated[int, typer.Option(help="Weeks to tell of.", min=1, max=104)] = 8,
    data: Data = None,
    config: Config = None,
    json: AsJson = False,
) -> None:
    """Show what a model did week by week on each scanner, and what drifted; exit code 1 where anything did."""
    from roi.model_report import report as run

    run(settings_of(config, data=data), model, weeks=weeks, as_json=json)
