"""The instances that a URL names, and in which transfer syntax they leave."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from api.dicomweb.explicit import EXPLICIT_LITTLE_UID, is_for_web, is_signed
from api.dicomweb.source import stored
from pacs_gateway.elements import encoding_of
from storage.catalog import studies
from storage.errors import CatalogueUnknown

if TYPE_CHECKING:
    from api.context import ApiContext
    from storage.records import InstanceRecord, InstanceUid, SeriesUid, StudyUid


def instances_of(
    context: ApiContext, study: StudyUid, series: SeriesUid | None = None, instance: InstanceUid | None = None
) -> list[InstanceRecord]:
    """Return the kept instances of a study, a series, or the one instance, in their order; at least one.

    Raises
    ------
    CatalogueUnknown
        Nothing is kept under these UIDs.
    Unavailable
        One of them cannot be read from here for now.
    """
    with context.archive.database.read() as tx:
        found = studies.instances_of(tx, study, series=series, instance=instance)
        context.archive.check_readable(tx, found)  # before the first byte: an answer cut later says less
    if not found:
        raise CatalogueUnknown("nothing is kept under these UIDs")
    return found


def leaves_as(instance: InstanceRecord) -> str:
    """Return the transfer syntax an instance goes out in: its own, but for those unknown to the web."""
    return instance.transfer_syntax_uid if is_for_web(instance.transfer_syntax_uid) else EXPLICIT_LITTLE_UID


def signed(context: ApiContext, instance: InstanceRecord) -> bool:
    """Return whether the pixels of an instance are signed, by its data set."""
    source = stored(context.archive, instance)

    def read(offset: int, length: int) -> bytes:
        return source.take(offset, max(0, min(length, source.size - offset)))

    reader: Callable[[int, int], bytes] = read
    return is_signed(reader, encoding_of(instance.transfer_syntax_uid))


def instance_url(context: ApiContext, instance: InstanceRecord) -> str:
    """Return the address of an instance."""
    study, series = instance.study_instance_uid, instance.series_instance_uid
    return f"{context.dicomweb_url}/studies/{study}/series/{series}/instances/{instance.sop_instance_uid}"


def bulk_url(context: ApiContext, instance: InstanceRecord) -> str:
    """Return the address below which the values of an instance lie."""
    return f"{instance_url(context, instance)}/bulkdata"
