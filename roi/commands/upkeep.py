"""Looking after an archive: `roi verify`, `roi scrub`, `roi rebuild` and the others of its objects and rows."""

from __future__ import annotations

from typing import Annotated

import typer

from roi.commands.options import Config, Data, OnlyInstance, OnlySeries, Study, settings_of

app = typer.Typer()

ReportAsJson = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]
Behind = Annotated[int, typer.Option(hidden=True)]


@app.command()
def verify(data: Data = None, config: Config = None, json: ReportAsJson = False) -> None:
    """Hold objects and catalogue against each other; reports only; exit code 1 on any difference."""
    from roi.maintain import verify as run

    run(settings_of(config, data=data), as_json=json)


@app.command()
def scrub(
    data: Data = None,
    config: Config = None,
    after: Annotated[float, typer.Option(help="Hours after which an object that no row needs is removed.", min=0)] = 24,
    rate: Annotated[float, typer.Option(help="Megabytes read per second; 0: as fast as it goes.", min=0)] = 20,
    json: ReportAsJson = False,
) -> None:
    """Read every object, tell damage, remove what no row needs; goes on where it was killed; exit code as verify."""
    from roi.maintain import scrub as run

    run(settings_of(config, data=data), after_h=after, rate_mb_s=rate, as_json=json)


@app.command()
def rebuild(
    data: Data = None,
    config: Config = None,
    replace: Annotated[bool, typer.Option("--replace", help="Begin anew where there are rows, after a copy.")] = False,
    json: ReportAsJson = False,
) -> None:
    """Make the catalogue anew from the object store alone, with every other role stopped."""
    from roi.maintain import rebuild as run

    run(settings_of(config, data=data), replace=replace, as_json=json)


@app.command()
def extract(data: Data = None, config: Config = None, behind: Behind = 0) -> None:
    """Make what first screens need, of every study that has it not yet: metadata, and where frames are."""
    from roi.extract import extract as run

    run(settings_of(config, data=data), behind=behind)


@app.command()
def report(data: Data = None, config: Config = None, behind: Behind = 0) -> None:
    """Tell results as DICOM objects, as the setting `reports` says: every one that is not told yet."""
    from roi.report import report as run

    run(settings_of(config, data=data), behind=behind)


@app.command()
def rerun(
    result: Annotated[str, typer.Argument(help="The result's id, as /api/studies/STUDY/results gives it.")],
    compare: Annotated[bool, typer.Option("--compare", help="Print every score, then and now.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Reproduce a result: the same images, model and threads; exit code 1 where another one comes out."""
    from roi.rerun import rerun as run

    run(settings_of(config, data=data), result, compare=compare, as_json=json)


@app.command()
def remove(
    study: Study,
    by: Annotated[str, typer.Option(help="Who removes it, for the audit.")],
    reason: Annotated[str, typer.Option(help="Why, for the audit.")],
    series: OnlySeries = None,
    instance: OnlyInstance = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Remove a study, a series or an instance for good, hidden or not: not even a rebuild brings it back."""
    from roi.maintain import remove as run

    run(settings_of(config, data=data), study=study, series=series, instance=instance, actor=by, reason=reason)


@app.command()
def migrate(data: Data = None, config: Config = None) -> None:
    """Bring the catalogue to this release's schema."""
    from roi.maintain import migrate as run

    run(settings_of(config, data=data))
