"""`roi quarantine`: copies that wait for a person's decision."""

from __future__ import annotations

from typing import Annotated

import typer

from roi.commands.options import By, Config, Data, ThemAsJson, Why, settings_of

app = typer.Typer(
    help="Copies with a kept instance's UID and other content: look at them, and decide.", no_args_is_help=True
)

RowId = Annotated[int, typer.Argument(help="The copy's number in roi quarantine list.")]


@app.command("list")
def list_(
    data: Data = None,
    config: Config = None,
    every: Annotated[bool, typer.Option("--all", help="Those that were decided on, too.")] = False,
    json: ThemAsJson = False,
) -> None:
    """List the copies that wait for a decision."""
    from roi.quarantine import list_copies

    list_copies(settings_of(config, data=data), every=every, as_json=json)


@app.command()
def show(copy: RowId, data: Data = None, config: Config = None) -> None:
    """Show a copy and in which attributes it differs from the kept instance, without their values."""
    from roi.quarantine import show as run

    run(settings_of(config, data=data), copy)


@app.command()
def release(copy: RowId, by: By, reason: Why, data: Data = None, config: Config = None) -> None:
    """Keep a copy in place of the kept instance, which goes into quarantine; the study is judged anew."""
    from roi.quarantine import release as run

    run(settings_of(config, data=data), copy, actor=by, reason=reason)


@app.command()
def reject(copy: RowId, by: By, reason: Why, data: Data = None, config: Config = None) -> None:
    """Remove a copy for good; the kept instance stays."""
    from roi.quarantine import reject as run

    run(settings_of(config, data=data), copy, actor=by, reason=reason)
