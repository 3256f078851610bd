"""The instances that a URL names, what their metadata is, and in which transfer syntax they leave."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from api.dicomweb.explicit import EXPLICIT_LITTLE_UID, is_for_web, is_signed
from api.dicomweb.model import DataSet, as_model, element
from api.dicomweb.source import Source, stored
from pacs_gateway.elements import encoding_of
from storage.catalog import deletions, studies

if TYPE_CHECKING:
    from api.context import ApiContext
    from storage.archive import Archive
    from storage.records import InstanceRecord, InstanceUid, NamedInstance, SeriesUid, StudyUid

Found = TypeVar("Found")


def instances_of(
    context: ApiContext, study: StudyUid, series: SeriesUid | None = None, instance: InstanceUid | None = None
) -> list[InstanceRecord]:
    """Return the kept instances of a study, a series, or the one instance, in their order; at least one.

    Raises
    ------
    CatalogueUnknown
        Nothing is kept in sight under these UIDs; `CatalogueGone` where the study was removed for good.
    Unavailable
        One of them cannot be read from here for now.
    """
    with context.archive.database.read() as tx:
        found = studies.instances_of(tx, study, series=series, instance=instance)
        context.archive.check_readable(tx, found)  # before the first byte: an answer cut later says less
    return _some(context, study, found)


def names_of(
    context: ApiContext, study: StudyUid, series: SeriesUid | None = None, instance: InstanceUid | None = None
) -> list[NamedInstance]:
    """Return what names the instances that `instances_of` would return; raises as it does."""
    with context.archive.database.read() as tx:
        found = studies.names_of(tx, study, series=series, instance=instance)
        context.archive.check_readable(tx, found)
    return _some(context, study, found)


def _some(context: ApiContext, study: StudyUid, found: list[Found]) -> list[Found]:
    if not found:
        with context.archive.database.read() as tx:
            raise deletions.missing(tx, study)
    return found


def leaves_as(instance: InstanceRecord) -> str:
    """Return the transfer syntax an instance goes out in: its own, but for those unknown to the web."""
    return instance.transfer_syntax_uid if is_for_web(instance.transfer_syntax_uid) else EXPLICIT_LITTLE_UID


def signed(archive: Archive, instance: InstanceRecord) -> bool:
    """Return whether the pixels of an instance are signed, by its data set."""
    source = stored(archive, instance)

    def read(offset: int, length: int) -> bytes:
        return source.take(offset, max(0, min(length, source.size - offset)))

    reader: Callable[[int, int], bytes] = read
    return is_signed(reader, encoding_of(instance.transfer_syntax_uid))


def model_of(archive: Archive, instance: InstanceRecord, dicomweb_url: str, *, source: Source | None = None) -> DataSet:
    """Return the metadata of an instance, its bulk data below `dicomweb_url`; read from `source` where one is given.

    Raises
    ------
    DataSetUnreadable
        It does not parse to its end.
    """
    encoding = encoding_of(instance.transfer_syntax_uid)
    is_signed = not is_for_web(instance.transfer_syntax_uid) and signed(archive, instance)
    where = f"{dicomweb_url}{_path(instance)}/bulkdata"
    model = as_model(source or stored(archive, instance), encoding, bulk_url=where, signed=is_signed)
    tag, available = element("AvailableTransferSyntaxUID", leaves_as(instance))
    return dict(sorted({**model, tag: available}.items()))


def instance_url(context: ApiContext, instance: InstanceRecord) -> str:
    """Return the address of an instance."""
    return f"{context.dicomweb_url}{_path(instance)}"


def bulk_url(context: ApiContext, instance: InstanceRecord) -> str:
    """Return the address below which the values of an instance lie."""
    return f"{instance_url(context, instance)}/bulkdata"


def _path(instance: InstanceRecord) -> str:
    study, series = instance.study_instance_uid, instance.series_instance_uid
    return f"/studies/{study}/series/{series}/instances/{instance.sop_instance_uid}"
