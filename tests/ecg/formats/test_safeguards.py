"""Tests of the limits of what ecgdatakit is given; test_reading.py measures the memory of whole files."""

import base64
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadwise.ecg.formats.safeguards import expanded_size
from leadwise.ecg.recording import Recording
from leadwise.ecg.repairs import RecordingError
from tests.ecg.formats import files

Read = Callable[..., Recording]


def chunk(codes: list[int]) -> bytes:
    data = files.lzw_codes(codes)
    return len(data).to_bytes(4, "little") + bytes(4) + data


def expanded(codes: list[int]) -> int:
    """Expand LZW strings one by one, and count their bytes."""
    strings = dict.fromkeys(range(256), 1)
    previous, following, size = 0, 256, 0
    for code in codes:
        if code == 1023:
            break
        strings.setdefault(code, previous + 1)
        if previous and following < 1023:
            strings[following] = previous + 1
            following += 1
        previous = strings[code]
        size += previous
    return size


@given(st.lists(st.lists(st.integers(0, 1023), min_size=4, max_size=60), max_size=3))
def test_the_size_is_that_of_the_strings(chunks: list[list[int]]) -> None:
    # whole groups of four codes, since the last byte may otherwise hold the beginning of a code
    chunks = [codes[: len(codes) // 4 * 4] for codes in chunks]
    assert expanded_size(b"".join(map(chunk, chunks))) == sum(map(expanded, chunks))


@given(seed=st.integers(0, 9), count=st.integers(2, 8))
def test_a_complete_table_is_followed_too(seed: int, count: int) -> None:
    codes = np.random.default_rng(seed).integers(0, 1023, 400 * count).tolist()
    assert expanded_size(chunk(codes)) == expanded(codes)


def test_the_library_expands_to_the_same_size() -> None:
    codecs = pytest.importorskip("ecgdatakit.parsing.codecs")
    raw = base64.b64decode(files.xli(files.COUNTS))
    assert expanded_size(raw) == sum(2 * len(lead) for lead in codecs.xli_decode(raw)) == files.COUNTS.size * 2


@given(st.binary(max_size=200))
def test_any_bytes_have_a_size(raw: bytes) -> None:
    assert expanded_size(raw) >= 0


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (files.mfer(channels=300), "declares 300 channels; at most 256"),
        (files.mfer(before=b"\x67\x80" * 20 + b"\0\0" * 20), "nested more than 8 deep"),
    ],
)
def test_mfer_has_limits(raw: bytes, reason: str, read: Read) -> None:
    pytest.importorskip("ecgdatakit")
    with pytest.raises(RecordingError, match=reason):
        read(raw)
