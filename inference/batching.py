"""Several runs, one forward pass: each run sees a model of its own, and waits there until all have brought their image.

On a GPU a pass over 32 radiographs takes hardly longer than over one.  A run that ends without an image is not waited
for, and where the pass fails each image is tried alone, so that one poisoned input fails nobody else's run.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final, Self

from models.contract import BatchModel

if TYPE_CHECKING:
    from types import TracebackType

    from models.contract import ModelCard, Prediction, Radiograph, TriageModel, Volume

logger = logging.getLogger(__name__)

_READ_AT_ONCE: Final = 8


class Batch:
    """One forward pass for `runs` runs of a model, each of which takes a seat and enters it in a thread of its own."""

    def __init__(self, model: TriageModel, *, runs: int, items_at_once: int) -> None:
        self.model = model
        self._items_at_once = items_at_once
        self._awaited = runs
        self._brought: list[Seat] = []
        self._all_here = threading.Condition()
        self.turns = threading.Semaphore(_READ_AT_ONCE)

    def bring(self, seat: Seat) -> None:
        """Return once the seat's image is scored, or its error known."""
        with self._all_here:
            self._brought.append(seat)
            self._one_less()
            self._all_here.wait_for(lambda: seat.is_done)

    def score_alone(self, image: Volume | Radiograph) -> Prediction:
        """Score one more input of a run that has brought its image already."""
        with self._all_here:
            return self.model.predict(image)

    def leave(self) -> None:
        """Do not wait for this run: it ended without an image."""
        with self._all_here:
            self._one_less()

    def _one_less(self) -> None:
        self._awaited -= 1
        if self._awaited == 0:
            self._forward()
            self._brought.clear()  # nothing but its run may keep an image: a stack takes hundreds of megabytes
            self._all_here.notify_all()

    def _forward(self) -> None:
        if len(self._brought) > 1 and isinstance(self.model, BatchModel):
            try:
                self._score(self.model, self._brought)
            except Exception:
                extra = {"action": "batch-failed", "model": self.model.card.id, "images": len(self._brought)}
                logger.exception("a batch failed, trying each image alone", extra=extra)
            else:
                return
        for seat in self._brought:
            try:
                self._score(self.model, [seat])
            except Exception as error:  # noqa: BLE001 - raised again in the run whose image it is
                seat.error = error

    def _score(self, model: TriageModel, seats: list[Seat]) -> None:
        images = [seat.image for seat in seats if seat.image is not None]
        shape = {"images": len(images)}
        if isinstance(model, BatchModel):
            predictions = model.predict_many(images, items_at_once=self._items_at_once)
            shape["items_at_once"] = self._items_at_once
        else:
            predictions = [model.predict(image) for image in images]
        for seat, prediction in zip(seats, predictions, strict=True):
            seat.prediction, seat.shape = prediction, shape


class Seat:
    """A run's own view of the model, used within ``with``."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._reads = self._has_brought = False
        self.image: Volume | Radiograph | None = None
        self.prediction: Prediction | None = None
        self.error: Exception | None = None
        self.shape: dict[str, int] = {}
        """How many images went through the network with this one, and how many items at once; for the provenance."""

    @property
    def card(self) -> ModelCard:
        """The model's card."""
        return self._batch.model.card

    @property
    def is_done(self) -> bool:
        """Whether there is a prediction, or an error."""
        return self.prediction is not None or self.error is not None

    def predict(self, image: Volume | Radiograph) -> Prediction:
        """Score one input, together with those of the other runs; a second one alone."""
        if self._has_brought:
            return self._batch.score_alone(image)
        self._let_another_read()
        self.image, self._has_brought = image, True
        self._batch.bring(self)
        self.image = None
        if self.error is not None:
            try:
                raise self.error
            finally:
                self.error = None  # its traceback looks at this seat and at every image of the batch
        assert self.prediction is not None  # noqa: S101 - bring came back
        return self.prediction

    def __enter__(self) -> Self:
        """Wait for a turn to read: a few runs read at once, not all."""
        self._batch.turns.acquire()
        self._reads = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave; the others do not wait for this one."""
        self._let_another_read()
        if not self._has_brought:
            self._batch.leave()

    def _let_another_read(self) -> None:
        if self._reads:
            self._reads = False
            self._batch.turns.release()
