"""The `roi` command.  Every command loads its libraries when it runs, so that `roi --help` answers at once."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from roi.settings import Settings

app = typer.Typer(
    name="roi",
    help="Rọi: a medical imaging archive with AI triage.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
peers_app = typer.Typer(
    help="The remote AEs that may call, once the DICOM port is bound beyond loopback.", no_args_is_help=True
)
models_app = typer.Typer(help="The installed models.", no_args_is_help=True)
quarantine_app = typer.Typer(
    help="Copies with a kept instance's UID and other content: look at them, and decide.", no_args_is_help=True
)
conflicts_app = typer.Typer(
    help="Studies that name more than one patient, and Patient IDs that several seem to share.", no_args_is_help=True
)
triage_app = typer.Typer(help="What the models' flags do to those who wait.", no_args_is_help=True)
viewer_app = typer.Typer(help="The image viewer that the API serves below /ohif/.", no_args_is_help=True)
hidden_app = typer.Typer(help="What is kept out of sight: look at it, and bring it back.", no_args_is_help=True)
app.add_typer(peers_app, name="peers")
app.add_typer(triage_app, name="triage")
app.add_typer(hidden_app, name="hidden")
app.add_typer(conflicts_app, name="conflicts")
app.add_typer(quarantine_app, name="quarantine")
app.add_typer(models_app, name="models")
app.add_typer(viewer_app, name="viewer")

Data = Annotated[Path | None, typer.Option(help="Data folder [roi-data].")]
Config = Annotated[Path | None, typer.Option(help="Settings file [roi.toml in the data folder].")]
DicomPort = Annotated[int | None, typer.Option(help="DICOM port [11112].")]
HttpPort = Annotated[int | None, typer.Option(help="HTTP port [8080].")]
Aet = Annotated[str | None, typer.Option(help="Our AE title [ROI].")]
Catalogue = Annotated[str | None, typer.Option(help="Catalogue URL [SQLite in the data folder].")]
Objects = Annotated[str | None, typer.Option(help="Object store URL [a directory in the data folder].")]
Dispatch = Annotated[str | None, typer.Option(help="Doorbell URL: child:, redis://, amqp:// [child:].")]
Processes = Annotated[int | None, typer.Option(help="Gateway processes that share the DICOM port [1].")]
ReadyFd = Annotated[int | None, typer.Option(hidden=True)]


# ---------------------------------------------------------------------------------------------------- serving
@app.command()
def serve(
    data: Data = None,
    dicom_port: DicomPort = None,
    http_port: HttpPort = None,
    aet: Aet = None,
    bind: Annotated[str | None, typer.Option(help="Address of both ports [127.0.0.1].")] = None,
    dicom_bind: Annotated[str | None, typer.Option(help="Address of the DICOM port alone.")] = None,
    processes: Processes = None,
    config: Config = None,
) -> None:
    """Run everything: gateway, API and worker, on this machine, no other server needed."""
    from roi.serve import serve as run

    ports = {"dicom_port": dicom_port, "http_port": http_port, "dicom_bind": dicom_bind or bind, "http_bind": bind}
    run(_settings(config, data=data, aet=aet, gateway_processes=processes, **ports))


@app.command()
def gateway(
    data: Data = None,
    dicom_port: DicomPort = None,
    aet: Aet = None,
    bind: Annotated[str | None, typer.Option(help="Address of the DICOM port [127.0.0.1].")] = None,
    processes: Processes = None,
    catalogue: Catalogue = None,
    objects: Objects = None,
    config: Config = None,
    ready_fd: ReadyFd = None,
) -> None:
    """Run a DICOM gateway."""
    own = {"dicom_port": dicom_port, "aet": aet, "dicom_bind": bind, "gateway_processes": processes}
    settings = _settings(config, data=data, catalogue=catalogue, objects=objects, **own)
    if (
        settings.gateway_processes > 1 and ready_fd is None
    ):  # with it, a supervisor runs already and this is one of them
        from roi.serve import serve_gateways

        serve_gateways(settings)
    else:
        from roi.roles import run_gateway

        run_gateway(settings, ready_fd)


@app.command()
def api(
    data: Data = None,
    http_port: HttpPort = None,
    bind: Annotated[str | None, typer.Option(help="Address of the HTTP port [127.0.0.1].")] = None,
    catalogue: Catalogue = None,
    objects: Objects = None,
    dispatch: Dispatch = None,
    config: Config = None,
    ready_fd: ReadyFd = None,
) -> None:
    """Run the HTTP side: worklist page, API, DICOMweb."""
    from roi.roles import run_api

    settings = _settings(
        config, data=data, http_port=http_port, http_bind=bind, catalogue=catalogue, objects=objects, dispatch=dispatch
    )
    run_api(settings, ready_fd)


@app.command()
def worker(
    data: Data = None,
    sizes: Annotated[str | None, typer.Option(help="Jobs to take: small, large [small,large].")] = None,
    catalogue: Catalogue = None,
    objects: Objects = None,
    dispatch: Dispatch = None,
    config: Config = None,
    ready_fd: ReadyFd = None,
) -> None:
    """Run a worker: completes studies and runs models."""
    from roi.roles import run_worker

    settings = _settings(config, data=data, sizes=sizes, catalogue=catalogue, objects=objects, dispatch=dispatch)
    run_worker(settings, ready_fd)


# ------------------------------------------------------------------------------------------------ bringing in
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

    import_files(_settings(config, data=data), folder)


# ------------------------------------------------------------------------------------------------- looking after
@app.command()
def verify(
    data: Data = None,
    config: Config = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Hold objects and catalogue against each other; reports only; exit code 1 on any difference."""
    from roi.maintain import verify as run

    run(_settings(config, data=data), as_json=json)


@app.command()
def scrub(
    data: Data = None,
    config: Config = None,
    after: Annotated[float, typer.Option(help="Hours after which an object that no row needs is removed.", min=0)] = 24,
    rate: Annotated[float, typer.Option(help="Megabytes read per second; 0: as fast as it goes.", min=0)] = 20,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Read every object, tell damage, remove what no row needs; goes on where it was killed; exit code as verify."""
    from roi.maintain import scrub as run

    run(_settings(config, data=data), after_h=after, rate_mb_s=rate, as_json=json)


@app.command()
def rebuild(
    data: Data = None,
    config: Config = None,
    replace: Annotated[bool, typer.Option("--replace", help="Begin anew where there are rows, after a copy.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Make the catalogue anew from the object store alone, with every other role stopped."""
    from roi.maintain import rebuild as run

    run(_settings(config, data=data), replace=replace, as_json=json)


@app.command()
def extract(
    data: Data = None,
    config: Config = None,
    behind: Annotated[int, typer.Option(hidden=True)] = 0,
) -> None:
    """Make what first screens need, of every study that has it not yet: metadata, and where frames are."""
    from roi.extract import extract as run

    run(_settings(config, data=data), behind=behind)


@app.command()
def report(
    data: Data = None,
    config: Config = None,
    behind: Annotated[int, typer.Option(hidden=True)] = 0,
) -> None:
    """Tell results as DICOM objects, as the setting `reports` says: every one that is not told yet."""
    from roi.report import report as run

    run(_settings(config, data=data), behind=behind)


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

    run(_settings(config, data=data), result, compare=compare, as_json=json)


@app.command()
def remove(
    study: Annotated[str, typer.Argument(help="Study Instance UID.")],
    by: Annotated[str, typer.Option(help="Who removes it, for the audit.")],
    reason: Annotated[str, typer.Option(help="Why, for the audit.")],
    series: Annotated[str | None, typer.Option(help="Only this series (Series Instance UID).")] = None,
    instance: Annotated[str | None, typer.Option(help="Only this instance (SOP Instance UID).")] = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Remove a study, a series or an instance for good, hidden or not: not even a rebuild brings it back."""
    from roi.maintain import remove as run

    run(_settings(config, data=data), study=study, series=series, instance=instance, actor=by, reason=reason)


@app.command()
def migrate(data: Data = None, config: Config = None) -> None:
    """Bring the catalogue to this release's schema."""
    from roi.maintain import migrate as run

    run(_settings(config, data=data))


@peers_app.command("add")
def peers_add(
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

    add_peer(_settings(config, data=data), aet, host, port, on_conflict)


@peers_app.command("remove")
def peers_remove(aet: str, host: str, data: Data = None, config: Config = None) -> None:
    """Let a remote AE call no longer."""
    from roi.maintain import remove_peer

    remove_peer(_settings(config, data=data), aet, host)


@peers_app.command("list")
def peers_list(data: Data = None, config: Config = None) -> None:
    """List the remote AEs that may call."""
    from roi.maintain import list_peers

    list_peers(_settings(config, data=data))


RowId = Annotated[int, typer.Argument(help="The copy's number in roi quarantine list.")]
DecidedBy = Annotated[str, typer.Option(help="Who decides, for the audit.")]
DecidedWhy = Annotated[str, typer.Option(help="Why, for the audit; no patient data.")]


@quarantine_app.command("list")
def quarantine_list(
    data: Data = None,
    config: Config = None,
    every: Annotated[bool, typer.Option("--all", help="Those that were decided on, too.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False,
) -> None:
    """List the copies that wait for a decision."""
    from roi.quarantine import list_copies

    list_copies(_settings(config, data=data), every=every, as_json=json)


@quarantine_app.command("show")
def quarantine_show(copy: RowId, data: Data = None, config: Config = None) -> None:
    """Show a copy and in which attributes it differs from the kept instance, without their values."""
    from roi.quarantine import show

    show(_settings(config, data=data), copy)


@quarantine_app.command("release")
def quarantine_release(
    copy: RowId, by: DecidedBy, reason: DecidedWhy, data: Data = None, config: Config = None
) -> None:
    """Keep a copy in place of the kept instance, which goes into quarantine; the study is judged anew."""
    from roi.quarantine import release

    release(_settings(config, data=data), copy, actor=by, reason=reason)


@quarantine_app.command("reject")
def quarantine_reject(copy: RowId, by: DecidedBy, reason: DecidedWhy, data: Data = None, config: Config = None) -> None:
    """Remove a copy for good; the kept instance stays."""
    from roi.quarantine import reject

    reject(_settings(config, data=data), copy, actor=by, reason=reason)


@conflicts_app.command("list")
def conflicts_list(data: Data = None, config: Config = None) -> None:
    """List conflicts of identity; nothing is ever merged."""
    from roi.conflicts import list_conflicts

    list_conflicts(_settings(config, data=data))


Study = Annotated[str, typer.Argument(help="Study Instance UID.")]


@conflicts_app.command("show")
def conflicts_show(study: Study, data: Data = None, config: Config = None) -> None:
    """Show the Patient IDs that a study's instances name."""
    from roi.conflicts import show

    show(_settings(config, data=data), study)


@conflicts_app.command("clear")
def conflicts_clear(study: Study, by: DecidedBy, reason: DecidedWhy, data: Data = None, config: Config = None) -> None:
    """Note that a study is reconciled: it is marked no longer."""
    from roi.conflicts import clear

    clear(_settings(config, data=data), study, actor=by, reason=reason)


@hidden_app.command("list")
def hidden_list(
    data: Data = None,
    config: Config = None,
    study: Annotated[str | None, typer.Option(help="Only of this study (Study Instance UID).")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False,
) -> None:
    """List what is out of sight, by whom and why."""
    from roi.hidden import list_hidden

    list_hidden(_settings(config, data=data), study=study, as_json=json)


@hidden_app.command("restore")
def hidden_restore(
    study: Study,
    by: DecidedBy,
    reason: DecidedWhy,
    series: Annotated[str | None, typer.Option(help="Only this series (Series Instance UID).")] = None,
    instance: Annotated[str | None, typer.Option(help="Only this instance (SOP Instance UID).")] = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Bring what is hidden of a study into sight again; it is judged anew."""
    from roi.hidden import restore

    restore(_settings(config, data=data), study=study, series=series, instance=instance, actor=by, reason=reason)


@models_app.command("list")
def models_list(data: Data = None, config: Config = None) -> None:
    """List the installed and imported models with what they look for."""
    from roi.importing import list_models

    list_models(_settings(config, data=data))


@models_app.command("show")
def models_show(
    model: Annotated[str, typer.Argument(help="Id of a model.")],
    data: Data = None,
    config: Config = None,
    json: Annotated[bool, typer.Option("--json", help="Print the card as JSON.")] = False,
) -> None:
    """Show a model's card: what it is for, where it comes from, what is known of it."""
    from roi.importing import show

    show(_settings(config, data=data), model, as_json=json)


@models_app.command("import")
def models_import(
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
    import_model(_settings(config, data=data), wanted)


Model = Annotated[str, typer.Argument(help="Id of an installed model.")]
ModelOrAll = Annotated[str | None, typer.Argument(help="Id of an installed model.")]
Every = Annotated[bool, typer.Option("--all", help="Every model, those that are installed later too.")]
Why = Annotated[str, typer.Option(help="Why, for the audit; no patient data.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]


@models_app.command("status")
def models_status(data: Data = None, config: Config = None, json: AsJson = False) -> None:
    """Show where each model stands at this site, on whose word, and whether it moves the list."""
    from roi.models import status

    status(_settings(config, data=data), as_json=json)


@models_app.command("enable")
def models_enable(
    model: Model,
    by: DecidedBy,
    why: Why,
    mode: Annotated[str, typer.Option(help="clinical, research or phantom.")],
    data: Data = None,
    config: Config = None,
) -> None:
    """Let a model move the list: it needs a permit and a passed local check, whose figures are shown."""
    from roi.models import enable

    enable(_settings(config, data=data), model, mode=mode, by=by, why=why)


@models_app.command("shadow")
def models_shadow(model: Model, by: DecidedBy, why: Why, data: Data = None, config: Config = None) -> None:
    """Take a model back to the shadow: it runs and moves nothing."""
    from roi.models import shadow

    shadow(_settings(config, data=data), model, by=by, why=why)


@models_app.command("retire")
def models_retire(model: Model, by: DecidedBy, why: Why, data: Data = None, config: Config = None) -> None:
    """Take a model out of use: it gets no job."""
    from roi.models import retire

    retire(_settings(config, data=data), model, by=by, why=why)


@models_app.command("stop")
def models_stop(
    by: DecidedBy,
    why: Why,
    model: ModelOrAll = None,
    every: Every = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Stop a model, or all, at once: no new job, and what waits or runs ends; reading goes on."""
    from roi.models import stop

    stop(_settings(config, data=data), _one_or_all(model, every=every), by=by, why=why)


@models_app.command("start")
def models_start(
    by: DecidedBy,
    why: Why,
    model: ModelOrAll = None,
    every: Every = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Let a stopped model, or all, go on with what comes from now."""
    from roi.models import start

    start(_settings(config, data=data), _one_or_all(model, every=every), by=by, why=why)


def _one_or_all(model: str | None, *, every: bool) -> str | None:
    if every == (model is not None):
        raise typer.BadParameter("say the id of a model, or --all")
    return model


Labels = Annotated[Path, typer.Option(help="CSV file: study, finding, truth (1 or 0).", exists=True, dir_okay=False)]
HalfWidth = Annotated[float, typer.Option(help="A rate is known where its interval is this wide to each side.")]


@models_app.command("check")
def models_check(
    model: Model,
    labels: Labels,
    by: DecidedBy,
    half_width: HalfWidth = 0.10,
    cases: Annotated[int, typer.Option(help="Labelled cases wanted at least.", min=200)] = 200,
    readers: Annotated[int, typer.Option(help="Readers at a time.", min=1, max=100)] = 1,
    minutes: Annotated[float, typer.Option(help="Minutes a reader takes for a study.", min=0.1, max=600)] = 10.0,
    data: Data = None,
    config: Config = None,
    json: AsJson = False,
) -> None:
    """Hold a model against labelled studies of this site; what was found is kept, and shown when it is enabled."""
    from inference.local_check import Wanted
    from roi.model_check import check

    wanted = Wanted(cases=cases, half_width=half_width)
    settings = _settings(config, data=data)
    check(settings, model, labels=labels, by=by, wanted=wanted, readers=readers, minutes=minutes, as_json=json)


@models_app.command("threshold")
def models_threshold(
    model: Model,
    finding: Annotated[str, typer.Option(help="Code of the finding.")],
    labels: Labels,
    rule: Annotated[str, typer.Option(help="sensitivity or specificity: which of them the target is for.")],
    target: Annotated[float, typer.Option(help="The rate to reach.", min=0, max=1)],
    by: DecidedBy,
    half_width: HalfWidth = 0.10,
    data: Data = None,
    config: Config = None,
) -> None:
    """Choose this site's own threshold on its labelled studies; the card stays as it is."""
    from roi.model_check import choose_threshold

    settings = _settings(config, data=data)
    choose_threshold(
        settings, model, finding=finding, labels=labels, rule=rule, target=target, half_width=half_width, by=by
    )


@models_app.command("card-threshold")
def models_card_threshold(
    model: Model,
    finding: Annotated[str, typer.Option(help="Code of the finding.")],
    by: DecidedBy,
    why: Why,
    data: Data = None,
    config: Config = None,
) -> None:
    """Go back to the threshold on the model's card."""
    from roi.model_check import end_threshold

    end_threshold(_settings(config, data=data), model, finding=finding, by=by, why=why)


@models_app.command("permit")
def models_permit(
    model: Model,
    by: DecidedBy,
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
    from roi.models import permit

    permit(
        _settings(config, data=data),
        model,
        number=circulation_number,
        statement=statement,
        signed_by=signed_by,
        signed_on=signed_on,
        expires_on=expires_on,
        by=by,
    )


@models_app.command("retract")
def models_retract(
    result: Annotated[str, typer.Argument(help="Id of a result.")],
    by: DecidedBy,
    why: Why,
    data: Data = None,
    config: Config = None,
) -> None:
    """Take back what a model said of a study; a raise that rested on it falls away."""
    from roi.models import retract

    retract(_settings(config, data=data), result, by=by, why=why)


@models_app.command("report")
def models_report(
    model: Model,
    weeks: Annotated[int, typer.Option(help="Weeks to tell of.", min=1, max=104)] = 8,
    data: Data = None,
    config: Config = None,
    json: AsJson = False,
) -> None:
    """Show what a model did week by week on each scanner, and what drifted; exit code 1 where anything did."""
    from roi.model_report import report

    report(_settings(config, data=data), model, weeks=weeks, as_json=json)


@models_app.command("incident")
def models_incident(
    model: Model,
    what: Annotated[str, typer.Option(help="What went wrong; no patient data.")],
    by: DecidedBy,
    result: Annotated[str | None, typer.Option(help="Id of the result that it is about; it is frozen.")] = None,
    known_at: Annotated[str | None, typer.Option(help="When it became known, as 2026-03-01T08:00 [now].")] = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Record an incident with a model's answer, and print by when whom has to be told."""
    from roi.models import record_incident

    settings = _settings(config, data=data)
    record_incident(settings, model, result=result, what=what, known_at=known_at, by=by)


@models_app.command("incident-done")
def models_incident_done(
    incident: Annotated[str, typer.Argument(help="Id of an incident.")],
    duty: Annotated[str, typer.Option(help="first notice, notice or full report.")],
    by: DecidedBy,
    data: Data = None,
    config: Config = None,
) -> None:
    """Note that a duty of an incident was done."""
    from roi.models import note_incident

    note_incident(_settings(config, data=data), incident, done=duty, by=by)


@models_app.command("incidents")
def models_incidents(data: Data = None, config: Config = None) -> None:
    """List incidents with what is due when, and what is overdue."""
    from roi.models import list_incidents

    list_incidents(_settings(config, data=data))


@models_app.command("opt-out")
def models_opt_out(
    patient_id: Annotated[str, typer.Argument(help="Patient ID.")],
    by: DecidedBy,
    why: Why,
    issuer: Annotated[str, typer.Option(help="Issuer of Patient ID [whoever].")] = "",
    data: Data = None,
    config: Config = None,
) -> None:
    """Ask no model about a person any more."""
    from roi.models import declare_opt_out

    declare_opt_out(_settings(config, data=data), patient_id, issuer=issuer, by=by, why=why)


@models_app.command("opt-in")
def models_opt_in(
    opt_out: Annotated[int, typer.Argument(help="Number of the opt-out, as roi models opt-outs shows it.")],
    by: DecidedBy,
    why: Why,
    data: Data = None,
    config: Config = None,
) -> None:
    """Take a person's opt-out back, for what comes from now."""
    from roi.models import end_opt_out

    end_opt_out(_settings(config, data=data), opt_out, by=by, why=why)


@models_app.command("opt-outs")
def models_opt_outs(data: Data = None, config: Config = None) -> None:
    """List whose images no model may look at."""
    from roi.models import list_opt_outs

    list_opt_outs(_settings(config, data=data))


@triage_app.command("simulate")
def triage_simulate(
    model: Annotated[str, typer.Argument(help="Id of an installed model.")],
    prevalence: Annotated[
        float, typer.Option(help="Share of the studies it looks at that has the finding.", min=0, max=1)
    ],
    finding: Annotated[str | None, typer.Option(help="Code of the finding [the model's first].")] = None,
    readers: Annotated[int, typer.Option(help="Readers at a time.", min=1, max=100)] = 1,
    minutes: Annotated[float, typer.Option(help="Minutes a reader takes for a study.", min=0.1, max=600)] = 10.0,
    days: Annotated[int, typer.Option(help="Days of this archive's arrivals to draw from.", min=1, max=3660)] = 56,
    traffic: Annotated[
        float | None,
        typer.Option(
            help="A steady load in place of the archive's arrivals: share of the readers' time.", min=0, max=1
        ),
    ] = None,
    eligible: Annotated[
        float | None, typer.Option(help="Share of all studies that the model looks at [by modality].", min=0, max=1)
    ] = None,
    sensitivity: Annotated[float | None, typer.Option(help="In place of the card's.", min=0, max=1)] = None,
    specificity: Annotated[float | None, typer.Option(help="In place of the card's.", min=0, max=1)] = None,
    seed: Annotated[int, typer.Option(help="Seed of the weeks that are drawn.")] = 0,
    data: Data = None,
    config: Config = None,
    json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Show what a model's flags would do here: how many are right, who gains minutes, and who loses them."""
    from inference.inquiry import Inquiry
    from roi.triage import simulate as run

    inquiry = Inquiry(
        model=model,
        finding=finding,
        prevalence=prevalence,
        readers=readers,
        reading_min=minutes,
        days=days,
        traffic=traffic,
        eligible=eligible,
        sensitivity=sensitivity,
        specificity=specificity,
        seed=seed,
    )
    run(_settings(config, data=data), inquiry, as_json=json)


@triage_app.command("replay")
def triage_replay(
    day: Annotated[datetime, typer.Option(help="The day, as 2026-03-01.", formats=["%Y-%m-%d"])],
    readers: Annotated[
        int | None, typer.Option(help="Readers that are assumed [as it was really read].", min=1, max=100)
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Minutes that each of them takes for a study.", min=0.1, max=600)
    ] = None,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Flags that may not move the list count as if they might.")
    ] = False,
    data: Data = None,
    config: Config = None,
    json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Read a day of this archive again, without AI and by arrival: minutes gained and lost by each group."""
    from inference.replay import Room
    from roi.errors import SettingWrong
    from roi.replay import replay_day

    if (readers is None) is not (minutes is None):
        raise SettingWrong("give both --readers and --minutes, or neither")
    room = None if readers is None or minutes is None else Room(readers=readers, reading_min=minutes)
    replay_day(_settings(config, data=data), day, room=room, shadow=shadow, as_json=json)


@triage_app.command("targets")
def triage_targets(
    wanted: Annotated[
        list[str] | None, typer.Option("--set", help="CLASS=MINUTES, as often as wanted, such as URGENT=30.")
    ] = None,
    by: Annotated[str, typer.Option(help="Who sets them, for the audit.")] = "",
    data: Data = None,
    config: Config = None,
    json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False,
) -> None:
    """Show, or set, how soon each class of study is to be read, and what that promises to those who wait."""
    from roi.targets import change, show

    settings = _settings(config, data=data)
    if wanted:
        change(settings, wanted, by=by, as_json=json)
    else:
        show(settings, as_json=json)


@viewer_app.command("fetch")
def viewer_fetch(
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
    from roi.viewer import fetch
    from web.viewer import Shelf

    fetch(Shelf(_settings(config, data=data).viewer_folder), file)


@viewer_app.command("status")
def viewer_status(data: Data = None, config: Config = None) -> None:
    """Say whether the image viewer is installed and whole; exit code 1 where it is not."""
    from roi.viewer import status
    from web.viewer import Shelf

    status(Shelf(_settings(config, data=data).viewer_folder))


def _settings(config: Path | None, **flags: object) -> Settings:
    from roi.settings import read_settings

    return read_settings(config=config, **flags)


_OURS = ("api.", "inference.", "models.", "pacs_gateway.", "roi.", "storage.", "web.")


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
