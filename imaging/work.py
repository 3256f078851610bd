"""Jobs done: in the decoder's process only, for this loads the codecs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imaging import overlays, profiles
from imaging.annotation import annotated
from imaging.codecs import decode, layout
from imaging.display import header_of, shown
from imaging.encoders import encode as compress
from imaging.jobs import Decode, Encode, Job
from imaging.picture import encode, framed
from imaging.presentation import presented

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from imaging.codecs import Samples
    from imaging.display import Shown
    from imaging.jobs import Render


def do(job: Job) -> bytes:
    """Return a frame's samples, the frame compressed anew, or a picture of it.

    Raises
    ------
    DecodeRefused
        The frame is not what its attributes say.
    """
    samples = decode(job.form, job.frame)
    if isinstance(job, Decode):
        return layout(job.form, samples)
    if isinstance(job, Encode):
        return compress(job.form, samples, job.encoder)
    return _picture(job, samples)


def _picture(job: Render, samples: Samples) -> bytes:
    """Return a frame as a picture: as it is shown, cut and scaled, written on where that is asked for, encoded."""
    header, state = header_of(job), job.picture.presentation
    image = _with_overlays(job, header, samples) if state is None else presented(job, state, samples)
    image = framed(image, job.picture)
    if job.picture.annotation:
        image = annotated(image, header, job.picture.annotation)
    image, profile = _coloured(image, header, job.picture.profile)
    return encode(image, job.picture, profile)


def _with_overlays(job: Render, header: Dataset, samples: Samples) -> Shown:
    image = shown(job, samples)
    for _, mask in overlays.planes(header, samples, job.number, little=job.little):
        image = overlays.drawn(image, mask)
    return image


def _coloured(image: Shown, header: Dataset, wanted: str) -> tuple[Shown, bytes]:
    """Return a picture with the profile that its colours are in, none for grey."""
    if wanted == "no" or image.ndim == 2:
        return image, b""
    own = header.get("ICCProfile") or b""
    if not own:
        return image, profiles.srgb()
    return (profiles.converted(image, own), profiles.srgb()) if wanted == "srgb" else (image, bytes(own))
