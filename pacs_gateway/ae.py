"""The application entity: a listening socket, a thread for each association, and who may have one."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable

from pacs_gateway.association import Association, House
from pacs_gateway.errors import ListenFailed
from pacs_gateway.ingest import Ingest
from pacs_gateway.limits import Limits
from pacs_gateway.negotiation import Refusal, Rejection
from pacs_gateway.service import find_services
from pacs_gateway.upper_layer import Connection
from storage.errors import StorageError

logger = logging.getLogger(__name__)

_BACKLOG = 512
_REST_S = 0.05
"""A pause where accepting fails for now, or between looks at what still runs."""


def log_refused(refusal: Refusal) -> None:
    """Log an association that was not accepted."""
    logger.warning(
        "association refused",
        extra={
            "action": "association-refused",
            "calling_aet": refusal.calling_aet,
            "called_aet": refusal.called_aet,
            "address": refusal.address,
            "reason": refusal.reason,
        },
    )


class Gateway:
    """A DICOM application entity that serves associations until it is stopped.

    Parameters
    ----------
    ingest
        Where instances go.
    aet
        Our title; another called title is rejected unless `check_called` is False.
    host, port
        Where to listen; port 0 takes a free one.
    may_call
        (calling AE title, address) -> whether that peer is served; a `StorageError` tells the peer to come back later.
    on_refused
        Hears of each association that was rejected.
    limits
        How much peers may take.
    reuse_port
        Several gateways, in several processes, may then listen on one port.
    check_called
        Whether the called title has to be ours.
    extra_storage_classes
        Private or unknown SOP classes to store like those of the standard.
    """

    def __init__(
        self,
        *,
        ingest: Ingest,
        aet: str,
        host: str,
        port: int,
        may_call: Callable[[str, str], bool],
        on_refused: Callable[[Refusal], None] = log_refused,
        limits: Limits | None = None,
        reuse_port: bool = False,
        check_called: bool = True,
        extra_storage_classes: Iterable[str] = (),
    ) -> None:
        self._address = (host, port)
        self._reuse_port = reuse_port
        self._limits = limits or Limits()
        self._hall = _Hall(may_call=may_call, on_refused=on_refused, limits=self._limits)
        self._house = House(
            aet=aet,
            check_called=check_called,
            services=find_services(extra_storage_classes),
            ingest=ingest,
            limits=self._limits,
            admission=self._hall,
        )
        self._listener: socket.socket | None = None
        self._door: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port listened on."""
        return int(self._listener.getsockname()[1]) if self._listener else self._address[1]

    @property
    def associations(self) -> int:
        """How many connections are being served."""
        return len(self._hall.present())

    def start(self) -> None:
        """Listen, and serve from a thread; peers can connect when this returns.

        Raises
        ------
        ListenFailed
            The port is taken, or the address is not this machine's.
        """
        host, port = self._address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._listener = socket.create_server(
                self._address, family=family, backlog=_BACKLOG, reuse_port=self._reuse_port
            )
        except OSError as error:
            reason = str(error.strerror).partition(" (while")[0]  # Python repeats the address there
            raise ListenFailed(f"cannot listen on {host} port {port}: {reason}") from error
        self._door = threading.Thread(target=self._accept, args=(self._listener,), name="dicom-accept", daemon=True)
        self._door.start()

    def stop(self, grace_s: float = 10.0) -> None:
        """Stop listening, let messages under way end for up to `grace_s`, then end every association."""
        if not self._listener or not self._door:
            return
        try:
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the accepting thread
        except OSError:
            logger.debug("listener was down already", extra={"action": "gateway-stop"})
        self._door.join()
        self._listener.close()
        self._listener = self._door = None
        self._hall.empty(grace_s)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, peer = listener.accept()
            except OSError as error:
                if _is_shut(listener):
                    return
                logger.warning("cannot accept", extra={"action": "accept-failed", "reason": error.strerror})
                time.sleep(_REST_S)
                continue
            self._hall.make_room()
            self._welcome(sock, str(peer[0]))

    def _welcome(self, sock: socket.socket, address: str) -> None:
        try:
            connection = Connection(sock, pdu_timeout_s=self._limits.pdu_s)
            association = Association(connection, address, self._house)
            self._hall.enter(association, threading.Thread(target=self._serve, args=(association,), daemon=True))
        except (OSError, RuntimeError) as error:  # the peer has gone already, or there are no more threads
            logger.warning("cannot serve", extra={"action": "accept-failed", "reason": type(error).__name__})
            sock.close()

    def _serve(self, association: Association) -> None:
        """Run one association; whatever goes wrong in it stays in it."""
        try:
            association.run()
        except Exception:
            logger.exception("association failed", extra={"action": "association-failed"})
        finally:
            self._hall.leave(association)


def _is_shut(listener: socket.socket) -> bool:
    """Tell whether a listener has been shut down, as opposed to failing for now."""
    return listener.fileno() < 0 or not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)


class _Hall:
    """The associations that are here, counted for the limits; used from every thread."""

    def __init__(
        self, *, may_call: Callable[[str, str], bool], on_refused: Callable[[Refusal], None], limits: Limits
    ) -> None:
        self._may_call = may_call
        self._on_refused = on_refused
        self._limits = limits
        self._lock = threading.Lock()
        self._threads: dict[Association, threading.Thread] = {}
        self._admitted: dict[int, str] = {}
        """Thread -> calling title of its established association."""

    def present(self) -> list[Association]:
        """Return the associations that are here, oldest first."""
        with self._lock:
            return list(self._threads)

    def enter(self, association: Association, thread: threading.Thread) -> None:
        """Start serving; `RuntimeError` where no thread can be had."""
        with self._lock:
            thread.start()
            self._threads[association] = thread

    def leave(self, association: Association) -> None:
        """Forget a connection that is closed."""
        with self._lock:
            self._threads.pop(association, None)

    def make_room(self) -> None:
        """Drop the oldest connection without an association, where there are too many."""
        with self._lock:
            pending = [association for association in self._threads if not association.established]
        if len(pending) >= self._limits.max_pending:
            pending[0].interrupt(at_once=True)

    def admit(self, calling_aet: str, address: str) -> Rejection | None:
        """Count a caller in, or say why not."""
        try:
            if not self._may_call(calling_aet, address):
                return Rejection.CALLING_AET
        except StorageError:
            return Rejection.CONGESTION
        with self._lock:
            of_this_title = Counter(self._admitted.values())[calling_aet]
            if len(self._admitted) >= self._limits.max_associations:
                return Rejection.LOCAL_LIMIT
            if of_this_title >= self._limits.max_associations_per_aet:
                return Rejection.LOCAL_LIMIT
            self._admitted[threading.get_ident()] = calling_aet
        return None

    def left(self) -> None:
        """Stop counting the calling thread's association."""
        with self._lock:
            self._admitted.pop(threading.get_ident(), None)

    def refused(self, refusal: Refusal) -> None:
        """Pass a refusal on."""
        self._on_refused(refusal)

    def empty(self, grace_s: float) -> None:
        """End every association: idle ones at once, busy ones after their message or when the grace is over."""
        deadline = time.monotonic() + grace_s
        while (present := self.present()) and time.monotonic() < deadline:
            for association in present:
                if not association.busy:
                    association.interrupt(at_once=False)
            time.sleep(_REST_S)
        with self._lock:
            remaining = dict(self._threads)
        for association in remaining:
            association.interrupt(at_once=True)
        for thread in remaining.values():
            thread.join(grace_s)
