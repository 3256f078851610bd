"""`roi conflicts`: conflicts of identity."""

from __future__ import annotations

import typer

from roi.commands.options import By, Config, Data, Study, Why, settings_of

app = typer.Typer(
    help="Studies that name more than one patient, and Patient IDs that several seem to share.", no_args_is_help=True
)


@app.command("list")
def list_(data: Data = None, config: Config = None) -> None:
    """List conflicts of identity; nothing is ever merged."""
    from roi.conflicts import list_conflicts

    list_conflicts(settings_of(config, data=data))


@app.command()
def show(study: Study, data: Data = None, config: Config = None) -> None:
    """Show the Patient IDs that a study's instances name."""
    from roi.conflicts import show as run

    run(settings_of(config, data=data), study)


@app.command()
def clear(study: Study, by: By, reason: Why, data: Data = None, config: Config = None) -> None:
    """Note that a study is reconciled: it is marked no longer."""
    from roi.conflicts import clear as run

    run(settings_of(config, data=data), study, actor=by, reason=reason)
