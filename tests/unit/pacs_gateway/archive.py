"""A small archive in memory: what the gateway hands over can be read back and compared."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from storage.errors import HighWaterReached, StorageError
from storage.records import Arrival, InstanceUid, StudyUid, Verdict
from storage.spool import Spool


@dataclass
class MemoryArchive:
    """Keeps the first of each SOP Instance UID; `failing` makes every `keep` raise it, `full` refuses to begin."""

    spool_folder: Path
    failing: StorageError | None = None
    full: bool = False
    kept: dict[InstanceUid, tuple[Arrival, bytes]] = field(default_factory=dict)
    released: list[frozenset[StudyUid]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def admit(self) -> None:
        if self.full:
            raise HighWaterReached

    def keep(self, spool: Spool, arrival: Arrival) -> Verdict:
        if self.failing:
            raise self.failing
        content = spool.reader().read()
        with self.lock:
            first = self.kept.setdefault(arrival.header.sop_instance_uid, (arrival, content))
        if first[0] is arrival:
            return Verdict.STORED
        return Verdict.DUPLICATE if first[0].key == arrival.key else Verdict.CONFLICT

    def release(self, study_uids: Iterable[StudyUid]) -> None:
        self.released.append(frozenset(study_uids))

    def data_set(self, uid: str) -> bytes:
        arrival, content = self.kept[InstanceUid(uid)]
        return content[arrival.meta_bytes :]

    def leftovers(self) -> list[str]:
        return [path.name for path in self.spool_folder.iterdir()]
