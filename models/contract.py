"""What goes into a triage model, what comes out, and what its card must say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt


class Urgency(StrEnum):
    """How soon a finding wants a reader; the worklist turns it into minutes."""

    CRITICAL = "critical"
    """Minutes matter: a rule-in hit of a critical finding."""
    URGENT = "urgent"
    """Within the hour: a balanced hit."""
    ROUTINE = "routine"
    """Worth saying, moves nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Volume:
    """A stack of axial CT slices in one geometry.

    `voxels` is float32 in Hounsfield units, shape (slices, rows, columns), ordered by position along the slice
    normal (feet to head).  `spacing_mm` is (slice step, row spacing, column spacing).  `affine_lps` maps
    (column, row, slice) indices to millimetres in the patient frame, LPS, shape (4, 4) float64 (PS3.3 C.7.6.2.1.1).
    `instance_uids` names the SOP Instance of each slice, same order.
    """

    voxels: npt.NDArray[np.float32]
    spacing_mm: tuple[float, float, float]
    affine_lps: npt.NDArray[np.float64]
    instance_uids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Radiograph:
    """One projection image, as a reader would see it.

    `pixels` is float32 in 0..1, shape (rows, columns), after modality and VOI LUT, bright = dense
    (MONOCHROME2 sense).  `view` is PA, AP or None where the header does not say.
    """

    pixels: npt.NDArray[np.float32]
    instance_uid: str
    view: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """What the network said: a score in 0..1 per finding code, and where it looked hardest.

    `key_instance_uids` names per finding the SOP Instance a reader should open first.  `slice_scores` is per
    finding the score of each slice, in `Volume.instance_uids` order; empty for a radiograph.  `batches` is how many
    items went through the network at a time, one number a pass: sums come out otherwise in batches of another size.
    `distance` tells how far the input lies from what the model knows, where its card has `known_inputs`; it comes out
    of the same pass.
    """

    scores: Mapping[str, float]
    key_instance_uids: Mapping[str, str] = field(default_factory=dict)
    slice_scores: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    batches: tuple[int, ...] = ()
    distance: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class OperatingPoint:
    """A threshold with the evidence it was chosen on; all rates in 0..1, intervals are 95 %.

    Rates that nobody measured are None, and their interval says nothing: (0, 1).
    """

    name: Literal["rule-in", "balanced", "rule-out"]
    threshold: float
    sensitivity: float | None
    sensitivity_interval: tuple[float, float]
    specificity: float | None
    specificity_interval: tuple[float, float]
    dataset: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FindingSpec:
    """One thing a model looks for."""

    code: str
    name_en: str
    name_vi: str
    urgency: Urgency
    operating_point: OperatingPoint


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownInputs:
    """Where a model's knowledge ends: an input farther off than `threshold` gets no answer.

    `file` lies beside the weights and has the SHA-256 `sha256`; `dataset` says on what the threshold was chosen.
    """

    file: str
    sha256: str
    threshold: float
    dataset: str


@dataclass(frozen=True, kw_only=True, slots=True)
class InputRules:
    """What a model accepts, by header and geometry; pixels are judged later, with a reason code."""

    kind: Literal["volume", "radiograph"]
    modalities: tuple[str, ...]
    sop_class_uids: tuple[str, ...]
    min_slices: int = 1
    max_slices: int = 1
    slice_step_mm: tuple[float, float] = (0.0, 0.0)
    preferred_step_mm: float = 5.0
    """Of several stacks that fit, the one nearest to this is taken."""
    coverage_mm: tuple[float, float] = (0.0, 0.0)
    max_tilt_deg: float = 30.0
    """How far slices may lean from the axial plane."""
    max_missing_slices: int = 0
    """How many single missing slices may be filled from their neighbours, 0 or 1."""
    whole_volume: bool = False
    """The network sees the stack as one block, so a stack that a tilted gantry sheared is refused."""
    tissue_mode_hu: tuple[float, float] = (0.0, 0.0)
    """Where the commonest soft tissue lies, in Hounsfield units; not checked where both are 0."""
    min_age_years: int = 0
    """A younger patient gets no answer; 0 for no floor."""

    def accepts(self, *, modality: str | None, sop_class_uid: str) -> bool:
        """Tell whether an instance of this kind could be part of an input."""
        return modality in self.modalities and sop_class_uid in self.sop_class_uids


@dataclass(frozen=True, kw_only=True, slots=True)
class Progressive:
    """That a model may look at a part of a stack: first at so many consecutive slices, then at every `step` more.

    For models whose score of the whole is about the highest of any part: a flag is then seldom retracted.
    """

    first_at_slices: int
    step: int

    def reached(self, slices: int) -> int:
        """Return the largest count to run at that `slices` have reached; 0 where they are too few."""
        if slices < self.first_at_slices:
            return 0
        return slices - (slices - self.first_at_slices) % self.step


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where a model comes from: code and weights apart, since they are often under different terms.

    `file_sha256` is the digest of the file as it came from outside, before it was converted; `recipe` what converted
    it, and `jail` how that process was kept from the network.  All three are empty for a model that was not imported.
    """

    code: str
    code_licence: str
    weights: str
    weights_licence: str
    recipe: str = ""
    file_sha256: str = ""
    jail: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCard:
    """Everything a site must know of a model, read without loading torch.

    `digest` is the SHA-256 over weights digest, pre/post chain, labels, operating points and known inputs: another
    digest is another model.  `raises_only_uid_root`, where set, limits which studies the model may move in the
    worklist: all SOP Instance UIDs of the study must start with it, any other study gets a shadow result.  No setting
    changes it.  `origin` says how the model came here: as code, ours or another package's, or imported by the site as
    a file.
    """

    id: str
    version: str
    digest: str
    title: str
    intended_use: str
    not_for: str
    label_en: str
    label_vi: str
    regulatory_status: str
    input_rules: InputRules
    findings: tuple[FindingSpec, ...]
    weights_sha256: str
    weights_file: str
    evidence: Mapping[str, object]
    limits: tuple[str, ...]
    raises_only_uid_root: str | None = None
    score_bound: float = 1e-4
    """How far a score may be from the same model's on the same images, on another build, CPU, thread count or batch
    shape; on the same ones the bits are the same."""
    known_inputs: KnownInputs | None = None
    origin: Literal["installed", "imported"] = "installed"
    source: Source | None = None
    expected_seconds: float = 10.0
    """Seconds a run may take on one CPU core; the watchdog allows a multiple of it."""
    progressive: Progressive | None = None
    """When it may run on a series that is still arriving; never, where there is none."""


class TriageModel(Protocol):
    """A loaded network with its chain.

    `predict` is a pure function of its input: same input, same build and threads give the same bits.  It may raise
    any error; the worker turns that into FAILED.  It is called by one thread at a time.
    """

    @property
    def card(self) -> ModelCard:
        """The card it was loaded by."""
        ...

    def predict(self, image: Volume | Radiograph) -> Prediction:
        """Score one input.

        Parameters
        ----------
        image
            A `Volume` where the card's rules say ``volume``, else a `Radiograph`.

        Returns
        -------
        Prediction
            One score in 0..1 for every finding of the card.
        """
        ...


@runtime_checkable
class BatchModel(TriageModel, Protocol):
    """A model that scores several inputs in one forward pass: an ability that a model may have or not."""

    def predict_many(self, images: Sequence[Volume | Radiograph], *, items_at_once: int) -> list[Prediction]:
        """Score inputs, in their order, with at most so many slices or images in the network at once.

        A score differs from that of `predict` on the input alone by at most the card's `score_bound`.
        """
        ...


class ModelFile(Protocol):
    """What `models/zoo/<name>.py` offers: a card, and a way to load it."""

    CARD: ModelCard

    def load(self, device: str, weights: Path) -> TriageModel:
        """Return the model on `device` (``cpu`` or ``cuda``), weights already verified against the card."""
        ...
