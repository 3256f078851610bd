"""The `roi` command.  Every command loads its libraries when it runs, so that `roi --help` answers at once."""

from __future__ import annotations

import sys
from typing import Final

import typer

from roi.commands import conflicts, hidden, intake, models, peers, quarantine, roles, triage, upkeep, viewer

_AT_THE_TOP: Final = (roles.app, intake.app, upkeep.app)
_GROUPS: Final = {
    "peers": peers.app,
    "triage": triage.app,
    "hidden": hidden.app,
    "conflicts": conflicts.app,
    "quarantine": quarantine.app,
    "models": models.app,
    "viewer": viewer.app,
}
"""Word of the command line -> the commands that it leads to."""
_OURS: Final = ("api.", "inference.", "models.", "pacs_gateway.", "roi.", "storage.", "web.")

app = typer.Typer(
    name="roi",
    help="Rọi: a medical imaging archive with AI triage.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for _commands in _AT_THE_TOP:
    app.add_typer(_commands)
for _word, _commands in _GROUPS.items():
    app.add_typer(_commands, name=_word)


def main() -> None:
    """Run the command; an error of ours becomes one sentence and exit code 2, a bug keeps its traceback."""
    try:
        app()
    except Exception as error:
        if not type(error).__module__.startswith(_OURS):
            raise
        sys.stderr.write(f"roi: {error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
