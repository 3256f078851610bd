"""Who takes part on this machine: contestants by key, made when first asked for, and why some are missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.floor import Floor
from benchmarks.full_catalogue import FullCatalogue, FullPostgres, FullSqlite
from benchmarks.orthanc import Orthanc, OrthancPostgres, installed_orthanc
from benchmarks.ours import RelaxedRoi, Roi, RoiApi, RoiOnServers
from benchmarks.peers import BareLoop, Contestant, Storescp
from tests.servers import minio, postgres


class AbsentError(RuntimeError):
    """A contestant cannot run here; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where things are on this machine."""

    kept: Path
    """Corpora and filled catalogues."""
    orthanc_root: Path | None
    full_instances: int


class Field:
    """The contestants.  A context manager: what serves the filled catalogues ends with it."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._stack = ExitStack()
        self._made: dict[str, Contestant] = {}
        self._full: dict[type[FullCatalogue], tuple[FullCatalogue, list[int]]] = {}

    def contestant(self, key: str) -> Contestant:
        """Return a contestant.

        Raises
        ------
        AbsentError
            It cannot run on this machine.
        """
        if key not in self._made:
            self._made[key] = MAKERS[key](self)
        return self._made[key]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def orthanc(self, make: Callable[[Path | None], Orthanc]) -> Orthanc:
        """Make an Orthanc of one kind."""
        if self._place.orthanc_root is None and not installed_orthanc():
            raise AbsentError("Orthanc is not installed, and no --orthanc-chroot is given")
        return make(self._place.orthanc_root)

    def orthanc_on_postgres(self) -> Orthanc:
        """Make the one with its index in PostgreSQL."""
        _need(postgres.available())
        server = self.orthanc(OrthancPostgres)
        if isinstance(server, OrthancPostgres) and not server.available():
            raise AbsentError("Orthanc's PostgreSQL plugin is not installed")
        return server

    def on_servers(self) -> Roi:
        """Make ours on PostgreSQL and MinIO."""
        _need(postgres.available() or minio.available())
        return RoiOnServers()

    def full(self, kind: type[FullCatalogue]) -> Roi:
        """Make ours on a filled catalogue, which is filled now where it is not yet."""
        catalogue, pids = self._catalogue(kind)
        name = f"roi, {self._place.full_instances:,} instances in {catalogue.kind}"
        return Roi(name, catalogue_url=lambda: catalogue.url, behind=lambda: pids)

    def empty(self, kind: type[FullCatalogue]) -> Roi:
        """Make ours on an empty catalogue in the same place."""
        catalogue, pids = self._catalogue(kind)
        return Roi(f"roi, empty {catalogue.kind}", catalogue_url=catalogue.empty_url, behind=lambda: pids)

    def _catalogue(self, kind: type[FullCatalogue]) -> tuple[FullCatalogue, list[int]]:
        if kind not in self._full:
            _need(postgres.available() if kind is FullPostgres else None)
            catalogue = kind(self._place.kept, self._place.full_instances)
            self._full[kind] = (catalogue, self._stack.enter_context(catalogue.ready()))
        return self._full[kind]


def _need(reason: str | None) -> None:
    if reason:
        raise AbsentError(reason)


MAKERS: Mapping[str, Callable[[Field], Contestant]] = {
    "roi": lambda _: Roi(),
    "roi-2": lambda _: Roi("roi, 2 processes", processes=2),
    "roi-relaxed": lambda _: RelaxedRoi(),
    "roi-api": lambda _: RoiApi("roi, STOW-RS"),
    "roi-servers": Field.on_servers,
    "roi-full-sqlite": lambda field: field.full(FullSqlite),
    "roi-empty-sqlite": lambda field: field.empty(FullSqlite),
    "roi-full-postgresql": lambda field: field.full(FullPostgres),
    "roi-empty-postgresql": lambda field: field.empty(FullPostgres),
    "orthanc": partial(Field.orthanc, make=Orthanc),
    "orthanc-postgres": Field.orthanc_on_postgres,
    "storescp": lambda _: Storescp(),
    "bare": lambda _: BareLoop(),
    "floor": lambda _: Floor(),
}
