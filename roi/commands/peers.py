"""`roi peers`: who may call."""

from __future__ import annotations

from typing import Annotated

import typer

from roi.commands.options import Config, Data, settings_of

app = typer.Typer(
    help="The remote AEs that may call, once the DICOM port is bound beyond loopback.", no_args_is_help=True
)


@app.command()
def add(
    aet: Annotated[str, typer.Argument(help="The peer's AE title.")],
    host: Annotated[str, typer.Argument(help="The peer's host name or address.")],
    port: Annotated[int | None, typer.Option(help="The peer's DICOM port, where we may call it.")] = None,
    on_conflict: Annotated[
        str | None,
        typer.Option(help="What it hears of a copy in quarantine: refuse, warn or accept [refuse]."),
    ] = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Let a remote AE call: its title and its address must match."""
    from roi.maintain import add_peer

    add_peer(settings_of(config, data=data), aet, host, port, on_conflict)


@app.command()
def remove(aet: str, host: str, data: Data = None, config: Config = None) -> None:
    """Let a remote AE call no longer."""
    from roi.maintain import remove_peer

    remove_peer(settings_of(config, data=data), aet, host)


@app.command("list")
def list_(data: Data = None, config: Config = None) -> None:
    """List the remote AEs that may call."""
    from roi.maintain import list_peers

    list_peers(settings_of(config, data=data))
