"""Bringing images in: `roi demo`, `roi send` and `roi import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from roi.commands.options import Config, Data, settings_of

app = typer.Typer()


@app.command()
def demo(
    folder: Annotated[
        Path | None, typer.Argument(help="DICOM files to send besides the phantoms.", exists=True)
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Stay up and print the page's address.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the phantoms.")] = 0,
) -> None:
    """Show the main job: send phantom studies, see the urgent ones on top."""
    from roi.demo import demo as run

    run(folder, keep=keep, seed=seed)


@app.command()
def send(
    folder: Annotated[Path, typer.Argument(help="A DICOM file, or a folder of them.", exists=True)],
    host: Annotated[str, typer.Argument(help="The receiver's host.")],
    port: Annotated[int, typer.Argument(help="The receiver's DICOM port.")],
    called: Annotated[str, typer.Option(help="The receiver's AE title.")] = "ROI",
    calling: Annotated[str, typer.Option(help="Our AE title.")] = "ROI-SEND",
    associations: Annotated[int, typer.Option(help="Associations at a time.", min=1, max=16)] = 1,
    state: Annotated[Path | None, typer.Option(help="File that remembers what was sent, to go on later.")] = None,
) -> None:
    """Send DICOM files to a DICOM node, as they are."""
    from roi.transfer import send as run

    run(folder, host, port, called_aet=called, calling_aet=calling, associations=associations, state=state)


@app.command("import")
def import_(
    folder: Annotated[Path, typer.Argument(help="A DICOM file, or a folder of them.", exists=True)],
    data: Data = None,
    config: Config = None,
) -> None:
    """Take DICOM files into the archive, straight from disk; what is there already is skipped."""
    from roi.transfer import import_files

    import_files(settings_of(config, data=data), folder)
