"""Jobs done: in the decoder's process only, for this loads the codecs."""

from __future__ import annotations

from imaging.codecs import decode, layout
from imaging.display import shown
from imaging.encoders import encode as compress
from imaging.jobs import Decode, Encode, Job
from imaging.picture import encode, framed


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
    return encode(framed(shown(job, samples), job.picture), job.picture)
