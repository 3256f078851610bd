"""Jobs done: in the decoder's process only, for this loads the codecs."""

from __future__ import annotations

from imaging.codecs import decode, layout
from imaging.display import shown
from imaging.jobs import Decode, Job
from imaging.picture import encode, framed


def do(job: Job) -> bytes:
    """Return a frame's samples, or a picture of it.

    Raises
    ------
    DecodeRefused
        The frame is not what its attributes say.
    """
    samples = decode(job.form, job.frame)
    if isinstance(job, Decode):
        return layout(job.form, samples)
    return encode(framed(shown(job, samples), job.picture), job.picture)
