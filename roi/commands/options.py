"""What several commands can be told: where the archive is, which study or model is meant, who decides and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from roi.settings import Settings

# ------------------------------------------------------------------------------------------------- where the archive is
Data = Annotated[Path | None, typer.Option(help="Data folder [roi-data].")]
Config = Annotated[Path | None, typer.Option(help="Settings file [roi.toml in the data folder].")]


def settings_of(config: Path | None, **flags: object) -> Settings:
    """Return the settings, as flags, environment and file say."""
    from roi.settings import read_settings

    return read_settings(config=config, **flags)


# ---------------------------------------------------------------------------------------------- which of them is meant
Study = Annotated[str, typer.Argument(help="Study Instance UID.")]
OnlySeries = Annotated[str | None, typer.Option(help="Only this series (Series Instance UID).")]
OnlyInstance = Annotated[str | None, typer.Option(help="Only this instance (SOP Instance UID).")]
Model = Annotated[str, typer.Argument(help="Id of an installed model.")]
Finding = Annotated[str, typer.Option(help="Code of the finding.")]

# ----------------------------------------------------------------------------------------------- who decides, and why
By = Annotated[str, typer.Option(help="Who decides, for the audit.")]
Why = Annotated[str, typer.Option(help="Why, for the audit; no patient data.")]

# ------------------------------------------------------------------------------------------------- who reads, how fast
Readers = Annotated[int, typer.Option(help="Readers at a time.", min=1, max=100)]
ReadingMinutes = Annotated[float, typer.Option(help="Minutes a reader takes for a study.", min=0.1, max=600)]

# -------------------------------------------------------------------------------------------------- how it is printed
AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]
ThemAsJson = Annotated[bool, typer.Option("--json", help="Print them as JSON.")]
