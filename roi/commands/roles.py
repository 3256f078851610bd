"""Running the archive: `roi serve`, or its roles as processes of their own."""

from __future__ import annotations

from typing import Annotated

import typer

from roi.commands.options import Config, Data, settings_of
from roi.lean import leave_out

app = typer.Typer()

DicomPort = Annotated[int | None, typer.Option(help="DICOM port [11112].")]
HttpPort = Annotated[int | None, typer.Option(help="HTTP port [8080].")]
Aet = Annotated[str | None, typer.Option(help="Our AE title [ROI].")]
Catalogue = Annotated[str | None, typer.Option(help="Catalogue URL [SQLite in the data folder].")]
Objects = Annotated[str | None, typer.Option(help="Object store URL [a directory in the data folder].")]
Dispatch = Annotated[str | None, typer.Option(help="Doorbell URL: child:, redis://, amqp:// [child:].")]
Processes = Annotated[int | None, typer.Option(help="Gateway processes that share the DICOM port [1].")]
ReadyFd = Annotated[int | None, typer.Option(hidden=True)]


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
    run(settings_of(config, data=data, aet=aet, gateway_processes=processes, **ports))


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
    settings = settings_of(config, data=data, catalogue=catalogue, objects=objects, **own)
    if settings.gateway_processes > 1 and ready_fd is None:  # with it, a supervisor runs and this is one of them
        from roi.serve import serve_gateways

        serve_gateways(settings)
    else:
        leave_out()
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
    leave_out()
    from roi.roles import run_api

    settings = settings_of(
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

    settings = settings_of(config, data=data, sizes=sizes, catalogue=catalogue, objects=objects, dispatch=dispatch)
    run_worker(settings, ready_fd)
