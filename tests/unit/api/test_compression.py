"""One gzip stream of texts that are squeezed now and texts that were squeezed before."""

from __future__ import annotations

import zlib

from hypothesis import given
from hypothesis import strategies as st

from api.dicomweb.compression import Squeezed, gzipped, plain, squeezed

TEXTS = st.one_of(st.binary(max_size=200), st.binary(min_size=1, max_size=8).map(lambda part: part * 9000))


@given(st.lists(st.tuples(TEXTS, st.booleans()), max_size=12))
def test_a_reader_of_one_member_reads_all_of_it(parts: list[tuple[bytes, bool]]) -> None:
    pieces: list[bytes | Squeezed] = [squeezed(text) if before else text for text, before in parts]
    whole = b"".join(text for text, _ in parts)
    made = b"".join(gzipped(pieces))
    reader = zlib.decompressobj(16 + zlib.MAX_WBITS)  # checks length and CRC at its end
    assert reader.decompress(made) == whole == b"".join(plain(pieces))
    assert (reader.eof, reader.unused_data) == (True, b"")
    assert made == b"".join(gzipped(pieces))


def test_what_was_squeezed_before_goes_out_as_it_is() -> None:
    ready = squeezed(b"metadata" * 10_000)
    made = b"".join(gzipped([b"[", ready, b",", ready, b"]"]))
    assert made.count(ready.content) == 2
