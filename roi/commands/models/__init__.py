"""`roi models`: which models there are, what they may do here, and how they did."""

from __future__ import annotations

from typing import Final

import typer

from roi.commands.models import checks, incidents, installed, opt_outs, permits, results, standing

_PARTS: Final = (
    installed.app,
    standing.app,
    checks.app,
    permits.app,
    results.app,
    incidents.app,
    opt_outs.app,
)
"""In the order in which the help names their commands."""

app = typer.Typer(help="The installed models.", no_args_is_help=True)
for _part in _PARTS:
    app.add_typer(_part)
