"""When something went wrong with a model's answer."""

from __future__ import annotations

from typing import Annotated

import typer

from roi.commands.options import By, Config, Data, Model, settings_of

app = typer.Typer()


@app.command()
def incident(
    model: Model,
    what: Annotated[str, typer.Option(help="What went wrong; no patient data.")],
    by: By,
    result: Annotated[str | None, typer.Option(help="Id of the result that it is about; it is frozen.")] = None,
    known_at: Annotated[str | None, typer.Option(help="When it became known, as 2026-03-01T08:00 [now].")] = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Record an incident with a model's answer, and print by when whom has to be told."""
    from roi.models import record_incident

    settings = settings_of(config, data=data)
    record_incident(settings, model, result=result, what=what, known_at=known_at, by=by)


@app.command()
def incident_done(
    incident: Annotated[str, typer.Argument(help="Id of an incident.")],
    duty: Annotated[str, typer.Option(help="first notice, notice or full report.")],
    by: By,
    data: Data = None,
    config: Config = None,
) -> None:
    """Note that a duty of an incident was done."""
    from roi.models import note_incident

    note_incident(settings_of(config, data=data), incident, done=duty, by=by)


@app.command()
def incidents(data: Data = None, config: Config = None) -> None:
    """List incidents with what is due when, and what is overdue."""
    from roi.models import list_incidents

    list_incidents(settings_of(config, data=data))
