"""People who want no AI."""

from __future__ import annotations

from typing import Annotated

import typer

from roi.commands.options import By, Config, Data, Why, settings_of

app = typer.Typer()


@app.command()
def opt_out(
    patient_id: Annotated[str, typer.Argument(help="Patient ID.")],
    by: By,
    why: Why,
    issuer: Annotated[str, typer.Option(help="Issuer of Patient ID [whoever].")] = "",
    data: Data = None,
    config: Config = None,
) -> None:
    """Ask no model about a person any more."""
    from roi.models import declare_opt_out

    declare_opt_out(settings_of(config, data=data), patient_id, issuer=issuer, by=by, why=why)


@app.command()
def opt_in(
    opt_out: Annotated[int, typer.Argument(help="Number of the opt-out, as roi models opt-outs shows it.")],
    by: By,
    why: Why,
    data: Data = None,
    config: Config = None,
) -> None:
    """Take a person's opt-out back, for what comes from now."""
    from roi.models import end_opt_out

    end_opt_out(settings_of(config, data=data), opt_out, by=by, why=why)


@app.command()
def opt_outs(data: Data = None, config: Config = None) -> None:
    """List whose images no model may look at."""
    from roi.models import list_opt_outs

    list_opt_outs(settings_of(config, data=data))
