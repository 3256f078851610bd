"""What a model may do here: enabled, taken back, stopped."""

from __future__ import annotations

from typing import Annotated

import typer

from roi.commands.options import AsJson, By, Config, Data, Model, Why, settings_of

app = typer.Typer()

ModelOrAll = Annotated[str | None, typer.Argument(help="Id of an installed model.")]
Every = Annotated[bool, typer.Option("--all", help="Every model, those that are installed later too.")]


@app.command()
def status(data: Data = None, config: Config = None, json: AsJson = False) -> None:
    """Show where each model stands at this site, on whose word, and whether it moves the list."""
    from roi.models import status as run

    run(settings_of(config, data=data), as_json=json)


@app.command()
def enable(
    model: Model,
    by: By,
    why: Why,
    mode: Annotated[str, typer.Option(help="clinical, research or phantom.")],
    data: Data = None,
    config: Config = None,
) -> None:
    """Let a model move the list: it needs a permit and a passed local check, whose figures are shown."""
    from roi.models import enable as run

    run(settings_of(config, data=data), model, mode=mode, by=by, why=why)


@app.command()
def shadow(model: Model, by: By, why: Why, data: Data = None, config: Config = None) -> None:
    """Take a model back to the shadow: it runs and moves nothing."""
    from roi.models import shadow as run

    run(settings_of(config, data=data), model, by=by, why=why)


@app.command()
def retire(model: Model, by: By, why: Why, data: Data = None, config: Config = None) -> None:
    """Take a model out of use: it gets no job."""
    from roi.models import retire as run

    run(settings_of(config, data=data), model, by=by, why=why)


@app.command()
def stop(
    by: By,
    why: Why,
    model: ModelOrAll = None,
    every: Every = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Stop a model, or all, at once: no new job, and what waits or runs ends; reading goes on."""
    from roi.models import stop as run

    run(settings_of(config, data=data), _one_or_all(model, every=every), by=by, why=why)


@app.command()
def start(
    by: By,
    why: Why,
    model: ModelOrAll = None,
    every: Every = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Let a stopped model, or all, go on with what comes from now."""
    from roi.models import start as run

    run(settings_of(config, data=data), _one_or_all(model, every=every), by=by, why=why)


def _one_or_all(model: str | None, *, every: bool) -> str | None:
    if every == (model is not None):
        raise typer.BadParameter("say the id of a model, or --all")
    return model
