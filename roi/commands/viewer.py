"""`roi viewer`: the image viewer."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from roi.commands.options import Config, Data, settings_of

app = typer.Typer(help="The image viewer that the API serves below /ohif/.", no_args_is_help=True)


@app.command()
def fetch(
    file: Annotated[
        Path | None,
        typer.Option(
            "--from", help="The viewer's package, where npm is not on this machine.", exists=True, dir_okay=False
        ),
    ] = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Install the image viewer: take its package with npm, or from a file, and make it ready to be served."""
    from roi.viewer import fetch as run
    from web.viewer import Shelf

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # npm and its scratch folder end with this process
    run(Shelf(settings_of(config, data=data).viewer_folder), file)


@app.command()
def status(data: Data = None, config: Config = None) -> None:
    """Say whether the image viewer is installed and whole; exit code 1 where it is not."""
    from roi.viewer import status as run
    from web.viewer import Shelf

    run(Shelf(settings_of(config, data=data).viewer_folder))
