"""A foreign file becomes a model of this site: fetched, converted in one jail, proven in another, then published."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from models import imported
from models.contract import ModelCard
from models.errors import ImportRefused
from models.imported import ID, ImportedModel, Written
from models.importers import contract, jail
from models.importers.about import read_about
from models.importers.fetch import bring
from models.importers.jail import USUAL, Limits
from models.importers.leftovers import working_in
from models.weights import golden_beside, sha256_of, verify

if TYPE_CHECKING:
    from collections.abc import Collection

    from models.importers.contract import Plan

LABEL_EN: Final = "Imported research model, not checked at this site. Not for clinical use."
LABEL_VI: Final = "Mô hình nghiên cứu nhập từ nơi khác, chưa kiểm chứng tại cơ sở này. Không dùng cho lâm sàng."
NOT_FOR: Final = "Any decision on a patient: nobody has checked it at this site."
_LIMITS: Final = (
    "Not checked at this site: how often it is right on this site's images is not known.",
    "Images are made ready by this program, not by the authors' own: scores may differ from theirs.",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What a person asks to import: a file or https URL, how to read it, and which file it must be."""

    source: str
    recipe: str
    sha256: str
    name: str | None = None
    about: Path | None = None
    unsafe_pickle: bool = False


def import_model(wanted: Wanted, folder: Path, *, taken: Collection[str] = (), limits: Limits = USUAL) -> ImportedModel:
    """Import a model into a site's folder; it is there whole, or not at all.

    Parameters
    ----------
    wanted
        What to import.
    folder
        The site's folder of imported models.
    taken
        Ids that other models have.
    limits
        What each of the two jailed steps may take.

    Raises
    ------
    ImportRefused
        No such recipe, another digest, or a file that the recipe does not read; the sentence says what to do.
    WeightsCorrupt, NetworkRefused, OnnxMissing
        The network is none of ours, or cannot run here.
    JailUnusable
        Nothing keeps a conversion from the network here.
    """
    module, recipe, variant = contract.find(wanted.recipe)
    about = read_about(wanted.about) if wanted.about is not None else None
    if (about is not None) != recipe.ABOUT:
        raise ImportRefused(
            f"{wanted.recipe} {'needs' if recipe.ABOUT else 'takes no'} description of the model (--about)"
        )
    with working_in(folder), imported.being_written(folder) as made:
        weights = made / recipe.WEIGHTS
        with _scratch(folder) as scratch:
            source = scratch / "source"
            bring(wanted.source, wanted.sha256.lower(), source)
            arguments = {"source": source.name, "to": recipe.WEIGHTS, "unsafe_pickle": wanted.unsafe_pickle}
            told = jail.run(f"{module}:convert", arguments, scratch=scratch, libraries=recipe.LIBRARIES, limits=limits)
            if sha256_of(source) != wanted.sha256.lower():
                raise ImportRefused("the file was changed while it was converted")
            _take_out(scratch / recipe.WEIGHTS, weights)
        plan = recipe.plan(variant, told.facts, about)
        name = wanted.name or plan.id
        if not ID.fullmatch(name) or name in taken:
            raise ImportRefused(f"a model cannot be called {name}: choose another --name of a-z, 0-9 and -")
        written = Written(
            card=_card(plan, wanted, name, weights, told.walls), chain=plan.chain, network=plan.network
        ).sealed()
        _prove(written, weights, folder, limits)
        return imported.publish(made, written)


def _card(plan: Plan, wanted: Wanted, name: str, weights: Path, walls: tuple[str, ...]) -> ModelCard:
    file_sha256 = wanted.sha256.lower()
    return ModelCard(
        id=name,
        version=file_sha256[:12],
        digest="",
        title=plan.title,
        intended_use=plan.intended_use,
        not_for=NOT_FOR,
        label_en=LABEL_EN,
        label_vi=LABEL_VI,
        regulatory_status="research",
        input_rules=plan.input_rules,
        findings=plan.findings,
        weights_sha256=sha256_of(weights),
        weights_file=weights.name,
        evidence={"at this site": "none", **plan.evidence},
        limits=(*_LIMITS, *plan.limits),
        origin="imported",
        source=replace(plan.source, recipe=wanted.recipe, file_sha256=file_sha256, jail=walls),
        expected_seconds=plan.expected_seconds,
    )


def _prove(written: Written, weights: Path, folder: Path, limits: Limits) -> None:
    """Build the network from what was written of it, load the weights strictly, write golden vectors beside them."""
    onnx = written.network.name == "onnx"
    libraries = ("torch", "safetensors.torch", "safetensors.numpy", "onnxruntime" if onnx else "monai.networks.nets")
    with _scratch(folder) as scratch:
        shutil.copyfile(weights, scratch / weights.name)
        arguments = {"written": imported.as_json(written)}
        jail.run("models.importers.proving:prove", arguments, scratch=scratch, libraries=libraries, limits=limits)
        golden = golden_beside(weights)
        _take_out(scratch / golden.name, golden)
    verify(weights, written.card.weights_sha256)


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=folder, prefix=".jail-") as made:
        yield Path(made)


def _take_out(path: Path, to: Path) -> None:
    """Copy what a jail has made, which must be a file and not the name of another."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise ImportRefused("the file's conversion made nothing that can be taken") from error
    with os.fdopen(descriptor, "rb") as made, to.open("wb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ImportRefused("the file's conversion made nothing that can be taken")
        shutil.copyfileobj(made, file, 1 << 20)
