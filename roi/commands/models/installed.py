"""Which models there are: listed, shown, brought in from outside, and taken away again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from roi.commands.options import By, Config, Data, Model, Why, settings_of

app = typer.Typer()


@app.command("list")
def list_(data: Data = None, config: Config = None) -> None:
    """List the installed and imported models with what they look for."""
    from roi.importing import list_models

    list_models(settings_of(config, data=data))


@app.command()
def show(
    model: Annotated[str, typer.Argument(help="Id of a model.")],
    data: Data = None,
    config: Config = None,
    json: Annotated[bool, typer.Option("--json", help="Print the card as JSON.")] = False,
) -> None:
    """Show a model's card: what it is for, where it comes from, what is known of it."""
    from roi.importing import show as run

    run(settings_of(config, data=data), model, as_json=json)


@app.command("import")
def import_(
    source: Annotated[str, typer.Argument(help="The foreign model: a file, or an https address.")],
    recipe: Annotated[str, typer.Option(help="How to read it: torchxrayvision/all, chexnet, onnx:NAME ...")],
    sha256: Annotated[str, typer.Option(help="The file's SHA-256, from whom you trust to know it.")],
    name: Annotated[str | None, typer.Option(help="What to call it here [the recipe's].")] = None,
    about: Annotated[
        Path | None, typer.Option(help="TOML file that says what the model's file does not.", exists=True)
    ] = None,
    unsafe_pickle: Annotated[
        bool, typer.Option("--unsafe-pickle", help="Take tensors out of whole pickled models, too; in the jail alone.")
    ] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Convert a foreign model in a jail and keep it; its results move no list."""
    from models.importers.conversion import Wanted
    from roi.importing import import_model

    wanted = Wanted(source=source, recipe=recipe, sha256=sha256, name=name, about=about, unsafe_pickle=unsafe_pickle)
    import_model(settings_of(config, data=data), wanted)


@app.command()
def remove(model: Model, by: By, why: Why, data: Data = None, config: Config = None) -> None:
    """Take an imported model away, one that is not enabled and has no jobs; its results stay."""
    from roi.models import remove as run

    run(settings_of(config, data=data), model, by=by, why=why)
