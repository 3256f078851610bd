"""Services are found by scan, and together they cover what the standard names."""

from __future__ import annotations

import pkgutil

from pydicom.uid import UID_dictionary
from pynetdicom.presentation import AllStoragePresentationContexts

from pacs_gateway import services
from pacs_gateway.command import CommandField
from pacs_gateway.service import find_services
from pacs_gateway.sop_classes import REFUSED_TRANSFER_SYNTAXES, RETIRED_STORAGE, STORAGE, VERIFICATION, YOUNGER_STORAGE

NOT_STORED = {"Media Storage Directory Storage", "Storage Commitment Push Model SOP Class"}
NOT_STORED |= {"Storage Commitment Pull Model SOP Class"}


def test_every_file_of_services_is_found() -> None:
    found = find_services()
    assert [service.name for service in found.records] == ["echo", "store"]
    assert len(found.records) == len(list(pkgutil.iter_modules(services.__path__)))


def test_each_sop_class_is_offered_by_one_service() -> None:
    found = find_services(["1.2.3.9"])
    store, echo = found.offering("1.2.3.9"), found.offering(VERIFICATION)
    assert store is not None
    assert echo is not None
    assert {*store.offers} == {CommandField.C_STORE_RQ}
    assert {*echo.offers} == {CommandField.C_ECHO_RQ}
    assert all(found.offering(uid) is store for uid in STORAGE)
    assert find_services().offering("1.2.3.9") is None


def test_no_storage_class_of_either_dictionary_is_missing() -> None:
    named = {
        uid
        for uid, (name, kind, *_) in UID_dictionary.items()
        if kind == "SOP Class" and "Storage" in name and not any(name.startswith(other) for other in NOT_STORED)
    }
    assert (named | {context.abstract_syntax for context in AllStoragePresentationContexts}) - STORAGE == set()
    assert not {*RETIRED_STORAGE} & {*YOUNGER_STORAGE}


def test_every_transfer_syntax_is_taken_but_those_whose_pixels_are_elsewhere() -> None:
    store = find_services().offering("1.2.840.10008.5.1.4.1.1.2")
    assert store is not None
    syntaxes = {uid for uid, (_, kind, *_) in UID_dictionary.items() if kind == "Transfer Syntax"}
    refused = {uid for uid in syntaxes if not store.accepts_syntax(uid)}
    assert refused == {*REFUSED_TRANSFER_SYNTAXES}
    assert store.accepts_syntax("1.2.3.4.5")
    assert not store.accepts_syntax("../x")
