"""Where real things meet: settings become adapters, adapters become roles.  Nothing else opens an adapter."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from roi import landing as landing_zone
from roi.folder import prepare_data_folder
from storage.adapters import open_store
from storage.archive import Archive, utc_now
from storage.database import Database
from storage.landing import LandedObjects, Landing, LateStore
from storage.migrate import migrate
from storage.records import JobSize
from storage.room import Mark, Room
from storage.spool import Spool

if TYPE_CHECKING:
    from api.context import ApiContext
    from inference.worker import Worker
    from pacs_gateway.ae import Gateway
    from roi.settings import Settings
    from storage.ports import ObjectStore


def open_objects(settings: Settings) -> ObjectStore:
    """Open the object store."""
    return _objects_opener(settings)()


def open_database(settings: Settings) -> Database:
    """Open the catalogue and bring it to this release's schema."""
    if settings.catalogue_url.startswith("sqlite:"):
        prepare_data_folder(settings.data)
    database = Database(settings.catalogue_url, password=_secret(settings.catalogue_password))
    migrate(database)
    return database


def open_archive(settings: Settings) -> Archive:
    """Open catalogue and object store as one archive, and sweep what a killed process left half received."""
    landing = open_landing(settings)
    store = open_objects(settings) if landing is None else _open_late(settings)
    incoming = [landing.objects.incoming] if landing is not None else []
    incoming.append(getattr(store, "incoming", None) or prepare_data_folder(settings.data) / "spool")
    for folder in incoming:
        folder.mkdir(exist_ok=True)
        Spool.sweep(folder)
    takes = settings.ack == "landing"
    spool_folder = incoming[0] if takes else incoming[-1]
    database = open_database(settings)
    objects = LandedObjects(store, landing=landing, takes=takes, database=database)
    folders = [spool_folder, *([settings.data] if database.is_sqlite else [])]
    room = Room(folders, Mark.parse(settings.high_water))
    return Archive(objects=objects, database=database, spool_folder=spool_folder, room=room, landing=objects)


def open_landing(settings: Settings) -> Landing | None:
    """Open this data folder's landing zone; None where it has none and needs none."""
    root = landing_zone.folder(settings)
    if root is None:
        return None
    prepare_data_folder(settings.data)
    return Landing(root, limit_bytes=settings.landing_limit_bytes)


@contextmanager
def gateway(settings: Settings) -> Iterator[Gateway]:
    """Open the DICOM gateway, listening."""
    from pacs_gateway.ae import Gateway
    from pacs_gateway.ingest import Ingest
    from roi.access import KnownPeers, audit_refusal

    archive = open_archive(settings)
    known = KnownPeers(archive.database)
    may_call = (lambda _aet, _address: True) if settings.loopback_only else known.may_call
    served = Gateway(
        ingest=Ingest(archive, on_conflict=known.on_conflict),
        aet=settings.aet,
        host=settings.dicom_bind,
        port=settings.dicom_port,
        may_call=may_call,
        on_refused=partial(audit_refusal, archive.database),
        reuse_port=settings.gateway_processes > 1,
    )
    try:
        with landing_zone.uploading(archive):
            served.start()
            try:
                yield served
            finally:
                served.stop()
    finally:
        archive.close()


@contextmanager
def worker(settings: Settings) -> Iterator[Worker]:
    """Open a worker, ready to run; its models load in their own process once something may need them."""
    from inference import deployment, memory
    from inference.child import ChildSetup, ModelProcess
    from inference.dispatchers import open_dispatcher
    from inference.pace import Pace
    from inference.worker import Worker
    from models import registry, runtime

    database = open_database(settings)
    with database.write() as tx:
        deployment.introduce(tx, registry.cards(settings.models_folder), now=utc_now())
    landing = open_landing(settings)
    dispatcher = open_dispatcher(settings.dispatch)
    setup = ChildSetup(
        open_objects=_reader_opener(settings),
        configure=_log_configurer(settings, "model"),
        threads=settings.model_threads or _threads_of_a_lane(os.cpu_count() or 1),
        memory_bytes=settings.model_memory_bytes or memory.allowance(),
        imported=settings.models_folder,
    )
    sizes, runs = settings.sizes_taken, runtime.available()
    try:
        yield Worker(
            database=database,
            dispatcher=dispatcher,
            cards=registry.cards(settings.models_folder),
            model=ModelProcess(setup) if runs else None,
            large_model=ModelProcess(setup) if runs and sizes == frozenset(JobSize) else None,
            sizes=sizes,
            clock=utc_now,
            here=landing.place.id if landing is not None else "",
            pace=Pace(run_limit_s=settings.run_limit_s),
        )
    finally:
        dispatcher.close()
        database.close()


def _threads_of_a_lane(cores: int) -> int:
    """Return how many threads each of the two model processes gets: together as many as there are cores."""
    return max(1, cores // 2)


@contextmanager
def api_context(settings: Settings) -> Iterator[ApiContext]:
    """Open what the HTTP side needs."""
    from api.context import ApiContext
    from inference.dispatchers import open_dispatcher
    from models import registry
    from pacs_gateway.ingest import Ingest
    from roi.access import KnownPeers
    from web.viewer import Shelf

    archive = open_archive(settings)
    dispatcher = open_dispatcher(settings.dispatch)
    try:
        with landing_zone.uploading(archive):
            context = ApiContext(
                archive=archive,
                ingest=Ingest(archive, on_conflict=KnownPeers(archive.database).on_conflict),
                public_base_url=settings.base_url,
                cards=registry.cards(settings.models_folder),
                pings={
                    "catalogue": archive.database.ping,
                    "objects": archive.objects.ping,
                    "dispatch": dispatcher.ping,
                    "room": archive.admit,
                },
                clock=utc_now,
                server_version=version("roi-archive"),
                cors_origins=settings.cors_allowed,
                qido_empty=int(settings.qido_empty),
                viewers=Shelf(settings.viewer_folder),
                flag_targets=settings.flag_targets_s,
            )
            with closing(context.decoders), closing(context.calculator):
                yield context
    finally:
        dispatcher.close()
        archive.close()


def _objects_opener(settings: Settings) -> Callable[[], ObjectStore]:
    if settings.objects_url.startswith("dir:"):
        prepare_data_folder(settings.data)
    return partial(
        open_store,
        settings.objects_url,
        access_key=_secret(settings.s3_access_key),
        secret_key=_secret(settings.s3_secret_key),
    )


def _open_late(settings: Settings) -> LateStore:
    """Open the object store behind a landing zone, now if it answers."""
    store = LateStore(_objects_opener(settings))
    store.try_now()
    return store


def _reader_opener(settings: Settings) -> Callable[[], ObjectStore]:
    """Return what opens the objects, those that have landed here among them, in a process without the catalogue."""
    return partial(_open_reader, _objects_opener(settings), landing_zone.folder(settings))


def _open_reader(open_objects: Callable[[], ObjectStore], root: Path | None) -> ObjectStore:
    return LandedObjects(LateStore(open_objects), landing=None if root is None else Landing(root))


def _log_configurer(settings: Settings, role: str) -> Callable[[], None]:
    from roi.logs import configure

    return partial(configure, role, settings.log)


def _secret(value: object) -> str | None:
    return value.get_secret_value() if hasattr(value, "get_secret_value") else None
