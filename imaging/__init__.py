"""Pixels: frames decoded and made into pictures, in processes that may run out, crash or be killed.

Nothing here knows of archives or the web.  Whoever asks imports `Decoders`, jobs and errors; codecs and numpy are
loaded by the decoder's process alone.
"""

from imaging.decoders import Decoders
from imaging.jobs import Decode, Encode, FrameForm, Picture, Presentation, Render, Window

__all__ = ["Decode", "Decoders", "Encode", "FrameForm", "Picture", "Presentation", "Render", "Window"]
