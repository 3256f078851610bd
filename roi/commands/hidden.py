"""`roi hidden`: what is out of sight."""

from __future__ import annotations

from typing import Annotated

import typer

from roi.commands.options import By, Config, Data, OnlyInstance, OnlySeries, Study, ThemAsJson, Why, settings_of

app = typer.Typer(help="What is kept out of sight: look at it, and bring it back.", no_args_is_help=True)


@app.command("list")
def list_(
    data: Data = None,
    config: Config = None,
    study: Annotated[str | None, typer.Option(help="Only of this study (Study Instance UID).")] = None,
    json: ThemAsJson = False,
) -> None:
    """List what is out of sight, by whom and why."""
    from roi.hidden import list_hidden

    list_hidden(settings_of(config, data=data), study=study, as_json=json)


@app.command()
def restore(
    study: Study,
    by: By,
    reason: Why,
    series: OnlySeries = None,
    instance: OnlyInstance = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Bring what is hidden of a study into sight again; it is judged anew."""
    from roi.hidden import restore as run

    run(settings_of(config, data=data), study=study, series=series, instance=instance, actor=by, reason=reason)
