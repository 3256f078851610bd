"""Every verdict and every error has a status, as PS3.4 B.2.3 and PS3.7 Annex C name them."""

from __future__ import annotations

import pytest

from pacs_gateway import errors as ours
from pacs_gateway import status
from storage import errors as storage
from storage.records import OnConflict, Verdict


def _tree(kind: type[Exception]) -> list[type[Exception]]:
    return [kind, *(below for child in kind.__subclasses__() for below in _tree(child))]


REFUSALS = [*_tree(ours.HeaderRejected), *_tree(ours.RequestRejected), *_tree(storage.StorageError)]
REFUSALS = [kind for kind in REFUSALS if kind is not ours.RequestRejected]


def test_every_verdict_has_a_status() -> None:
    assert {verdict: status.for_verdict(verdict).code for verdict in Verdict} == {
        Verdict.STORED: 0x0000,
        Verdict.DUPLICATE: 0x0000,
        Verdict.OTHER_SYNTAX: 0x0000,
        Verdict.CONFLICT: 0x0111,
        Verdict.HIDDEN: 0x0000,
        Verdict.STUDY_GONE: 0x0110,
    }


def test_a_sender_hears_of_a_conflict_what_was_set_for_it_and_of_nothing_else() -> None:
    heard = {wish: status.for_verdict(Verdict.CONFLICT, wish).code for wish in OnConflict}
    assert heard == {OnConflict.REFUSE: 0x0111, OnConflict.WARN: 0xB000, OnConflict.ACCEPT: 0x0000}
    assert {status.for_verdict(Verdict.STORED, wish).code for wish in OnConflict} == {0}


@pytest.mark.parametrize("kind", REFUSALS)
def test_every_refusal_has_a_status(kind: type[ours.HeaderRejected]) -> None:
    assert status.for_error(kind.__new__(kind)).code != 0


def test_status_of_each_kind() -> None:
    kinds = {
        storage.OutOfSpace: 0xA700,
        storage.CatalogueUnavailable: 0xA700,
        storage.ObjectStoreUnavailable: 0xA700,
        storage.ObjectCorrupt: 0x0110,
        ours.InstanceTooLarge: 0xA700,
        ours.CommandContradicted: 0xA900,
        ours.CommandUidRejected: 0x0117,
        ours.UidRejected: 0xC000,
        ours.HeaderUnreadable: 0xC000,
        ours.Part10Rejected: 0xC000,
        ours.OperationUnknown: 0x0211,
        ours.OperationMistyped: 0x0212,
        ours.SopClassMismatch: 0x0122,
    }
    assert {kind: status.for_error(kind("with a secret")).code for kind in kinds} == kinds


def test_comments_fit_their_element_and_hold_nothing_of_the_instance() -> None:  # D-23
    known = [*status.VERDICTS.values(), *status.CONFLICTS.values(), *(answer for _, answer in status.ERRORS)]
    assert [answer for answer in known if len(answer.comment) > 64 or not answer.comment.isascii()] == []
    assert "secret" not in status.for_error(ours.UidRejected("secret")).comment
