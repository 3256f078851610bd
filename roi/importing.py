"""`roi models`: which models there are, what their cards say, and bringing one in from outside."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import orjson
from rich.console import Console
from rich.table import Column, Table

from models import registry
from models.importers import conversion
from roi.folder import prepare_data_folder

if TYPE_CHECKING:
    from models.contract import FindingSpec, ModelCard
    from models.importers.conversion import Wanted
    from roi.settings import Settings


def list_models(settings: Settings) -> None:
    """Print the models that are here."""
    cards = registry.cards(settings.models_folder)
    table = Table(Column("model", no_wrap=True), "version", "looks for", "input", "status", "origin")
    for card in cards:
        findings = ", ".join(finding.name_en for finding in card.findings)
        modalities = " ".join(card.input_rules.modalities)
        table.add_row(card.id, card.version, findings, modalities, card.regulatory_status, card.origin)
    Console().print(table)
    for label in sorted({card.label_en for card in cards}):
        Console().print(label)


def show(settings: Settings, model: str, *, as_json: bool) -> None:
    """Print a model's card."""
    card = registry.card(model, settings.models_folder)
    if as_json:
        sys.stdout.write(orjson.dumps(card, option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    lines = [f"{name}: {text}" for name, text in _facts(card).items()]
    lines += [f"limit: {limit}" for limit in card.limits]
    lines += [_line(finding) for finding in card.findings]
    sys.stdout.write("\n".join(lines) + "\n")


def import_model(settings: Settings, wanted: Wanted) -> None:
    """Import a model and say what became of it."""
    prepare_data_folder(settings.data)
    folder = settings.models_folder
    sys.stderr.write("converting in a process without network; this takes a minute or two\n")
    taken = [card.id for card in registry.cards(folder)]
    card = conversion.import_model(wanted, folder, taken=taken).CARD
    walls = ", ".join(card.source.jail) if card.source else ""
    sys.stdout.write(
        f"{card.id} is imported: {len(card.findings)} findings, digest {card.digest[:12]}, converted behind {walls}\n"
        f"{card.label_en}\n{card.label_vi}\n"
        "Its results move no list. API and workers know it from their next start.\n"
    )


def _facts(card: ModelCard) -> dict[str, str]:
    source = asdict(card.source) if card.source else {}
    return {
        "model": f"{card.id}, version {card.version}",
        "title": card.title,
        "label": f"{card.label_en} {card.label_vi}",
        "for": card.intended_use,
        "not for": card.not_for,
        "status": card.regulatory_status,
        "origin": card.origin,
        **{name.replace("_", " "): ", ".join(text) if name == "jail" else str(text) for name, text in source.items()},
        "weights SHA-256": card.weights_sha256,
        "digest": card.digest,
    }


def _line(finding: FindingSpec) -> str:
    point = finding.operating_point
    rates = f"sensitivity {_rate(point.sensitivity)}, specificity {_rate(point.specificity)}"
    named = f"finding: {finding.code} ({finding.name_vi}), {finding.urgency}"
    return f"{named}, from {point.threshold:.3g} on; {rates}; {point.dataset}"


def _rate(rate: float | None) -> str:
    return "not measured" if rate is None else f"{rate:.1%}"
