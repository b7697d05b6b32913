"""Test the evidence by occlusion against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from leadwise.model.ensemble import Model, load_model
from leadwise.report.occlusion import Evidence, cells, find_evidence, without_piece
from leadwise.report.sheet.layout import Span
from leadwise.util.files import read_json, write_json
from tests.model.models import write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Return an untrained model for signals in mV, so that no probability is 0 or 1."""
    folder = tmp_path_factory.mktemp("model") / "model"
    write_model(folder, networks=2)
    metadata = read_json(folder / "model.json")
    metadata["recipe"]["signal"]["unit"] = "mV"
    write_json(folder / "model.json", metadata)
    return load_model(folder)


def plain_drop(
    model: Model, signal: NDArray[np.float32], person: NDArray[np.float32], diagnosis: int, lead: int, half: int
) -> float:
    """Return how far the probability drops without one half second, computed sample by sample."""
    frequency = model.recipe.signal.sampling_frequency
    first, end = round(half * frequency / 2), round((half + 1) * frequency / 2)
    altered = signal.copy()
    for place in range(first, end):
        left = signal[lead, first - 1] if first else signal[lead, end]
        right = signal[lead, end] if end < signal.shape[1] else signal[lead, first - 1]
        altered[lead, place] = left + (right - left) * (place - first + 1) / (end - first + 1)
    before, after = (model.predict([one], person[None]).scores[0, diagnosis] for one in (signal, altered))
    return float(before - after)


def test_drops_are_those_of_a_plain_loop(model: Model) -> None:
    random = np.random.default_rng(3)
    signal = random.normal(size=(12, 256)).astype(np.float32)  # one window: all is examined
    signal[5] = 0
    person = np.array([0.6, 0, 1, 0, 1], np.float32)
    evidence = find_evidence(model, signal, person, 7)
    assert (evidence.start, evidence.end) == (0, 256 / 257)
    assert {(span.lead, span.start) for span in evidence.spans} == {
        (lead, start) for lead in range(12) if lead != 5 for start in (0, 128 / 257)
    }
    assert all(span.end > span.start for span in evidence.spans) and max(s.end for s in evidence.spans) == 256 / 257
    first = [span for span in evidence.spans if span.start == 0]
    expected = [plain_drop(model, signal, person, 7, span.lead, 0) for span in first]
    np.testing.assert_allclose([span.weight for span in first], expected, atol=1e-6)
    assert np.ptp(expected) > 1e-5
    for lead in (0, 5):
        without = signal.copy()
        without[lead] = 0
        before, after = (model.predict([one], person[None]).scores[0, 7] for one in (signal, without))
        assert evidence.leads[lead] == pytest.approx(before - after, abs=1e-6)


def test_evidence_of_a_long_recording_is_from_the_most_probable_window(model: Model) -> None:
    signal = np.random.default_rng(4).normal(size=(12, 1000)).astype(np.float32)
    person = np.zeros(5, np.float32)
    evidence = find_evidence(model, signal, person, 2)
    starts = [0, 186, 372, 558, 744]  # windows of 256 that share at least 32
    alone = [model.predict([signal[:, s : s + 256]], person[None]).scores[0, 2] for s in starts]
    assert evidence.start == starts[int(np.argmax(alone))] / 257
    assert evidence.end - evidence.start == pytest.approx(256 / 257)
    assert evidence.probability == pytest.approx(max(alone), abs=1e-6)


@pytest.mark.parametrize("samples, width", [(2570, 128.5), (1, 128.5), (100, 128.5), (200, 128.5), (1300, 128.5)])
def test_cells_cover_every_sample_once(samples: int, width: float) -> None:
    pieces = cells(samples, width)
    assert [place for first, end in pieces for place in range(first, end)] == list(range(samples))
    assert samples < width or all(width / 2 - 1 <= end - first <= 1.5 * width + 1 for first, end in pieces)


def test_a_hidden_piece_is_a_straight_line() -> None:
    signal = np.arange(24, dtype=np.float32).reshape(2, 12) ** 2
    middle = without_piece(signal, 1, 3, 6)
    np.testing.assert_allclose(middle[1, 2:7], np.linspace(signal[1, 2], signal[1, 6], 5))
    np.testing.assert_array_equal(middle[0], signal[0])
    np.testing.assert_array_equal(without_piece(signal, 0, 0, 4)[0, :4], signal[0, 4])
    np.testing.assert_array_equal(without_piece(signal, 0, 9, 12)[0, 9:], signal[0, 8])
    assert not without_piece(signal, 0, 0, 12)[0].any()


def test_the_strongest_spans_are_those_that_lower_the_probability() -> None:
    drops = [0.4, 0.09, -0.9, 0.2, 0.1]
    spans = tuple(Span(lead, 0.0, 0.5, drop) for lead, drop in enumerate(drops))
    evidence = Evidence(0, 0.8, 0.0, 0.5, spans, np.zeros(12))
    assert [span.weight for span in evidence.strongest()] == [0.4, 0.2, 0.1]
    many = tuple(Span(k % 12, 0.5 * (k // 12), 0.5 * (k // 12) + 0.5, 0.3) for k in range(40))
    assert len(Evidence(0, 0.8, 0.0, 2.0, many, np.zeros(12)).strongest()) == 12
    assert Evidence(0, 0.8, 0.0, 0.5, spans[2:3], np.zeros(12)).strongest() == []
    weak = tuple(span._replace(weight=drop) for span, drop in zip(spans, (0.049, 0.05, 0.01, 0, 0.02), strict=True))
    assert [span.weight for span in Evidence(0, 0.8, 0.0, 0.5, weak, np.zeros(12)).strongest()] == [0.05]
