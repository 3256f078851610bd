"""C-STORE: the Storage service as SCP, level 2 (PS3.4 Annex B): everything is kept as it came."""

from __future__ import annotations

from collections.abc import Iterator

from pacs_gateway import status
from pacs_gateway.command import CommandField, Field
from pacs_gateway.errors import SopClassMismatch
from pacs_gateway.header import is_uid
from pacs_gateway.service import DicomService, Offer, Operation, Reply, Request
from pacs_gateway.sop_classes import REFUSED_TRANSFER_SYNTAXES, STORAGE
from storage.records import OnConflict, Verdict


class _Store:
    """One C-STORE: fragments go straight to the spool, the reply waits for the archive."""

    def __init__(self, request: Request) -> None:
        command = request.command
        sop_class_uid = command.uid(Field.AFFECTED_SOP_CLASS_UID)
        if is_uid(sop_class_uid) and sop_class_uid != request.sop_class_uid:
            raise SopClassMismatch
        self._studies = request.studies
        self._ingest, self._origin = request.ingest, request.origin
        self._reception = request.ingest.begin(
            transfer_syntax_uid=request.transfer_syntax_uid,
            origin=request.origin,
            sop_class_uid=sop_class_uid,
            sop_instance_uid=command.uid(Field.AFFECTED_SOP_INSTANCE_UID),
        )

    def write(self, fragment: memoryview) -> None:
        self._reception.write(fragment)

    def finish(self) -> Iterator[Reply]:
        verdict = self._reception.finish()
        self._studies.add(self._reception.header.study_instance_uid)
        # Most instances are no conflict: nobody's wishes are looked up for them.
        wish = self._ingest.on_conflict(self._origin) if verdict is Verdict.CONFLICT else OnConflict.REFUSE
        yield Reply(status=status.for_verdict(verdict, wish))

    def close(self) -> None:
        self._reception.close()


def _store(request: Request) -> Operation:
    return _Store(request)


def _accepts_syntax(uid: str) -> bool:
    """Take any encoding, known or not, whose pixels are in the data set."""
    return is_uid(uid) and uid not in REFUSED_TRANSFER_SYNTAXES


SERVICE = DicomService(
    name="store",
    sop_classes=STORAGE,
    accepts_syntax=_accepts_syntax,
    offers={CommandField.C_STORE_RQ: Offer(begin=_store, takes_data_set=True)},
)
