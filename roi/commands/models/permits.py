"""On which ground a model may move the list of patients."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from roi.commands.options import By, Config, Data, Model, settings_of

app = typer.Typer()


@app.command()
def permit(
    model: Model,
    by: By,
    signed_on: Annotated[str, typer.Option(help="Day of the number or the signature, as 2026-03-01.")],
    circulation_number: Annotated[str | None, typer.Option(help="Circulation number (số lưu hành).")] = None,
    statement: Annotated[
        Path | None,
        typer.Option(help="The signed research statement; its SHA-256 is kept.", exists=True, dir_okay=False),
    ] = None,
    signed_by: Annotated[str, typer.Option(help="Who signed the statement.")] = "",
    expires_on: Annotated[str | None, typer.Option(help="Last day on which it holds.")] = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Record on which ground a model may move the list of patients."""
    from roi.models import permit as run

    run(
        settings_of(config, data=data),
        model,
        number=circulation_number,
        statement=statement,
        signed_by=signed_by,
        signed_on=signed_on,
        expires_on=expires_on,
        by=by,
    )
