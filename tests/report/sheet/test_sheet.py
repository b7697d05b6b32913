"""Test the ECG sheet: true scale, leads in their places, notes about what is missing, safe text."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox
from PIL import Image

from leadwise.ecg.leads import standard_leads
from leadwise.ecg.recording import read_recording, recording_from_arrays
from leadwise.report.sheet.layout import GRID_TOP, Finding, Span, column_starts, cut, row_lines
from leadwise.report.sheet.paper import figure_bytes, own_settings, printable
from leadwise.report.sheet.sheet import Caption, caption_of, draw_sheet, save_sheet
from leadwise.simulate import simulate
from tests.conftest import LEADS, header_text

ROOT = Path(__file__).resolve().parents[3]
STATUS = ("likely", "possible", "", "", "")
SVG = "{http://www.w3.org/2000/svg}"
MM = 72 / 25.4  # units of matplotlib's SVG in a millimetre
HOSTILE = "<script>alert(1)</script>&\"'\n\x00\x1b[31m $x^2$ ]]> \\frac{ \u202e\ud800 心電図"


def square_wave(frequency: float = 500, seconds: float = 10.0, height: float = 1.0) -> np.ndarray:
    """Return (12, samples): 1 mV from 0.5 to 1.5 s of each 2.5 s, so that each strip has one complete wave."""
    times = np.arange(round(seconds * frequency)) / frequency % 2.5
    return np.tile(height * ((times >= 0.5) & (times < 1.5)), (12, 1))


class Svg:
    """A sheet as SVG, measured in millimetres from the page's lower left corner."""

    def __init__(self, figure: Figure) -> None:
        self.content = figure_bytes(figure, "svg")
        self.root = ElementTree.fromstring(self.content)
        self.height = float(self.root.attrib["viewBox"].split()[3]) / MM

    def paths(self, gid: str) -> list[np.ndarray]:
        """Return the points (points, 2) of each path in groups of this id."""
        found = []
        for group in self.root.iter(f"{SVG}g"):
            for path in group.findall(f"{SVG}path") if group.get("id") == gid else ():
                numbers = np.array(re.findall(r"-?\d+\.?\d*", path.attrib["d"]), float).reshape(-1, 2) / MM
                found.append(np.stack([numbers[:, 0], self.height - numbers[:, 1]], axis=1))
        return found

    def path(self, gid: str) -> np.ndarray:
        (points,) = self.paths(gid)
        return points

    def texts(self) -> list[tuple[str, float, float]]:
        """Return every text with the position of its baseline."""
        return [
            (text.text or "", float(text.attrib["x"]) / MM, self.height - float(text.attrib["y"]) / MM)
            for text in self.root.iter(f"{SVG}text")
        ]

    def words(self) -> str:
        return "\n".join(text for text, _, _ in self.texts())


def edges(points: np.ndarray) -> tuple[float, float]:
    """Return where a trace with one square wave crosses the middle of its height, upwards and downwards (mm)."""
    high = points[:, 1] > points[:, 1].min() + np.ptp(points[:, 1]) / 2
    steps = np.flatnonzero(np.diff(high.astype(int)))
    return tuple(points[step : step + 2, 0].mean() for step in steps[:2])


@pytest.mark.parametrize("panel", [False, True])
def test_a_millivolt_is_10_mm_and_a_second_25_mm_in_svg(panel: bool) -> None:
    findings = [Finding("sinus rhythm", 0.9, 0.5, "likely")] if panel else []
    svg = Svg(draw_sheet(square_wave(), 500, findings=findings))
    assert float(svg.root.attrib["width"].removesuffix("pt")) / MM == pytest.approx(297, abs=1e-3)
    assert float(svg.root.attrib["height"].removesuffix("pt")) / MM == pytest.approx(210, abs=1e-3)
    for gid in [*(f"lead-{name}" for name in LEADS), "rhythm"]:
        points = svg.path(gid)
        assert np.ptp(points[:, 1]) == pytest.approx(10, abs=0.01), gid
        up, down = edges(points)
        assert down - up == pytest.approx(25, abs=0.01), gid
    assert np.ptp(svg.path("rhythm")[:, 0]) == pytest.approx(250, abs=0.1)


def test_a_millivolt_is_10_mm_and_a_second_25_mm_in_png(tmp_path: Path) -> None:
    signal = square_wave()
    signal[1:] = 0  # nothing but lead I, so that its pixels are its own
    save_sheet(tmp_path / "sheet.png", draw_sheet(signal, 500))
    image = Image.open(tmp_path / "sheet.png")
    assert image.size == (2970, 2100)
    assert image.info["dpi"] == pytest.approx((254, 254), abs=0.01)
    dark = np.asarray(image.convert("L"))[200:700, 350:880] < 90  # row 1, 35 to 88 mm; ten pixels each
    upright = np.flatnonzero(dark.sum(axis=0) > 80) + 350
    assert np.ptp(upright) == pytest.approx(250, abs=3)
    rows = np.flatnonzero(dark.sum(axis=1) > 90)  # the line at 1 mV and the line at 0 mV
    assert np.ptp(rows) == pytest.approx(100, abs=3)  # a line is 2 or 3 pixels wide


def test_pdf_is_a4() -> None:
    content = figure_bytes(draw_sheet(square_wave(), 500), "pdf")
    box = re.search(rb"/MediaBox \[ *([\d. ]+)\]", content)
    assert box
    assert [float(number) / MM for number in box[1].split()] == pytest.approx([0, 0, 297, 210], abs=0.01)


def test_calibration_marks_and_grid_are_to_scale() -> None:
    svg = Svg(draw_sheet(square_wave(), 500))
    for row in range(1, 5):
        mark = svg.path(f"calibration-{row}")
        assert np.ptp(mark[:, 1]) == pytest.approx(10, abs=0.01)
        assert edges(mark)[1] - edges(mark)[0] == pytest.approx(5, abs=0.01)
    for gid, step in (("grid-1mm", 1), ("grid-5mm", 5)):
        lines = svg.path(gid).reshape(-1, 2, 2)
        upright = np.unique(lines[np.ptp(lines[:, :, 0], axis=1) < 1e-6][:, 0, 0])
        level = np.unique(lines[np.ptp(lines[:, :, 1], axis=1) < 1e-6][:, 0, 1])
        assert np.diff(upright) == pytest.approx(np.full(len(upright) - 1, step), abs=1e-4)
        assert np.diff(level) == pytest.approx(np.full(len(level) - 1, step), abs=1e-4)


@pytest.mark.parametrize("frequency", [100, 257, 500, 1000])
def test_scale_does_not_depend_on_sampling_frequency(frequency: int) -> None:
    strips = cut(square_wave(frequency), frequency)
    for strip in strips:
        high = strip.x[strip.y > 5]
        assert strip.y.max() - strip.y.min() == pytest.approx(10)
        assert high[high < strip.left + 60].max() - high.min() == pytest.approx(25, abs=25 / frequency + 1e-9)


def test_leads_stand_in_the_usual_order_with_their_names() -> None:
    signal = square_wave() * np.arange(1, 13)[:, None] / 8  # lead k is k / 8 mV high
    svg = Svg(draw_sheet(signal, 500))
    for lead, name in enumerate(LEADS):
        points = svg.path(f"lead-{name}")
        assert np.ptp(points[:, 1]) == pytest.approx((lead + 1) * 10 / 8, abs=0.01)
        assert points[0, 0] == pytest.approx(26 + 62.5 * (lead // 3), abs=0.06)
        places = [(x, y) for text, x, y in svg.texts() if text == name]
        line = points[:, 1].min()
        assert any(abs(x - points[0, 0] - 1) < 0.1 and line < y < line + 25 for x, y in places), name
    rows = [svg.path(f"lead-{name}")[:, 1].min() for name in ("I", "II", "III")] + [svg.path("rhythm")[:, 1].min()]
    assert rows == sorted(rows, reverse=True)
    assert np.ptp(svg.path("rhythm")[:, 1]) == pytest.approx(20 / 8, abs=0.01)  # lead II


@settings(max_examples=25)
@given(
    seconds=st.floats(0.02, 40),
    frequency=st.sampled_from([50, 257, 500]),
    where=st.floats(0, 0.999),
    scale=st.floats(0, 1e6),
    seed=st.integers(0, 9),
)
def test_strips_are_the_samples_and_lie_on_the_paper(
    seconds: float, frequency: int, where: float, scale: float, seed: int
) -> None:
    samples = max(1, round(seconds * frequency))
    signal = scale * np.random.default_rng(seed).normal(size=(12, samples))
    start = where * (samples - 1) / frequency
    strips = cut(signal, frequency, start)
    assert [strip.lead for strip in strips] == [*range(12), 1]
    for strip in strips:
        first, end = strip.start * frequency, (strip.start + strip.seconds) * frequency
        inside = [k for k in range(samples) if first - 1e-6 <= k <= end + 1e-6]
        values = signal[strip.lead, inside]
        assert strip.y == pytest.approx(10 * (values - np.median(values)), abs=1e-6 * max(scale, 1))
        assert strip.x.min() >= strip.left - 1e-3
        assert strip.x.max() <= strip.left + 25 * strip.seconds + 1e-3
    for bottom in (20.0, 65.0):
        lines = row_lines(strips, bottom)
        assert bottom < lines[3] <= lines[2] <= lines[1] <= lines[0] < GRID_TOP


def test_traces_stay_inside_the_grid_or_a_note_names_their_leads() -> None:
    svg = Svg(draw_sheet(square_wave(height=2.5), 500))
    assert all(svg.path(f"lead-{name}")[:, 1].max() < GRID_TOP for name in LEADS)
    assert "Exceeds the grid" not in svg.words()
    signal = square_wave()
    signal[9] *= 1e12
    svg = Svg(draw_sheet(signal, 500))
    assert "Exceeds the grid: V4" in svg.words()
    assert svg.path("lead-V4").max() < 300


def test_ten_seconds_of_a_long_recording_are_drawn_with_a_note() -> None:
    signal = np.concatenate([square_wave(), 2 * square_wave(seconds=5)], axis=1)
    first = Svg(draw_sheet(signal, 500))
    assert "Drawn: 0 to 10 s of 15 s" in first.words()
    assert np.ptp(first.path("rhythm")[:, 1]) == pytest.approx(10, abs=0.01)
    later = Svg(draw_sheet(signal, 500, start=5))
    assert "Drawn: 5 to 15 s of 15 s" in later.words()
    assert np.ptp(later.path("lead-V6")[:, 1]) == pytest.approx(20, abs=0.01)
    assert ("15 s" in {text for text, _, _ in later.texts()}) and ("5" in {text for text, _, _ in later.texts()})


def test_every_lead_of_a_short_recording_is_visible() -> None:
    svg = Svg(draw_sheet(square_wave(seconds=6), 500))
    for name in LEADS:
        points = svg.path(f"lead-{name}")
        assert np.ptp(points[:, 0]) == pytest.approx(62.5, abs=0.06)
    assert svg.path("rhythm")[:, 0].max() == pytest.approx(26 + 150, abs=0.1)
    assert "The recording ends after 6 s; columns begin earlier" in svg.words()
    assert {"V1  from 3.5 s", "V6  from 3.5 s", "aVR", "I"} <= {text for text, _, _ in svg.texts()}


def test_columns_move_only_where_there_is_no_signal() -> None:
    assert column_starts(10, 0) == column_starts(9.9, 0) == column_starts(60, 0) == [0, 2.5, 5, 7.5]
    assert column_starts(60, 20) == [20, 22.5, 25, 27.5]
    assert column_starts(6, 0) == [0, 2.5, 3.5, 3.5]
    assert column_starts(1, 0) == [0, 0, 0, 0]


@pytest.mark.parametrize("samples", [1, 2, 100])
def test_a_few_samples_can_be_drawn(samples: int) -> None:
    assert b"nan" not in figure_bytes(draw_sheet(np.ones((12, samples)), 500), "svg").lower()


def test_missing_leads_are_named_and_not_drawn() -> None:
    signal = square_wave()
    signal[[5, 10]] = 0
    svg = Svg(draw_sheet(signal, 500))
    assert not svg.paths("lead-aVF")
    assert not svg.paths("lead-V5")
    assert {"aVF  no signal", "V5  no signal", "No signal: aVF, V5"} <= {text for text, _, _ in svg.texts()}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(bad: float) -> None:
    signal = square_wave()
    signal[3, 7] = bad
    with pytest.raises(ValueError, match="NaN"):
        draw_sheet(signal, 500)


def test_impossible_signals_frequencies_starts_and_spans_are_refused() -> None:
    signal = square_wave()
    for wrong in (signal[:11], signal[0], signal[:, :0]):
        with pytest.raises(ValueError, match=r"12, samples|start"):
            draw_sheet(wrong, 500)
    for frequency in (0, -1, np.nan, np.inf):
        with pytest.raises(ValueError, match="Hz"):
            draw_sheet(signal, frequency)
    for start in (-1, 10, np.nan):
        with pytest.raises(ValueError, match="start"):
            draw_sheet(signal, 500, start=start)
    for span in ((12, 0, 1, 1), (-1, 0, 1, 1), (0, 1, 1, 1), (0, 2, 1, 1), (0, 0, 11, 1), (0, 0, 1, np.nan)):
        with pytest.raises(ValueError, match="Span"):
            draw_sheet(signal, 500, spans=[Span(*span)])


def test_the_caption_has_age_sex_and_heart_rate() -> None:
    assert Caption("A1", 74, "male", 71.6).person == "74 years · male · heart rate 72/min"
    assert Caption("A1").person == "age unknown · sex unknown · heart rate unclear"
    assert Caption(age=300, sex="female").person.startswith("over 89 years · female")
    assert Caption(age=-1).person.startswith("age unknown")
    assert Caption(age=0.5).person.startswith("0.5 years")


def test_caption_of_a_recording_has_its_rate_and_repairs() -> None:
    signal = np.round(1000 * simulate("SB", 1, 500)).astype(np.int16)
    recording = recording_from_arrays(header_text("E00001", signal, gain="4880/mV"), signal)
    caption = caption_of(recording, standard_leads(recording, "mV"))
    assert (caption.name, caption.age, caption.sex) == ("E00001", 74, "male")
    assert caption.rate is not None
    assert 38 < caption.rate < 60
    assert caption.notes == ("repaired or doubtful: wrong-gain",)
    svg = Svg(draw_sheet(standard_leads(recording, "mV").values, 500, caption))
    assert "Repaired or doubtful: wrong-gain" in svg.words()
    assert "E00001" in svg.words()


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_hostile_names_remain_text(kind: str) -> None:
    findings = [Finding(HOSTILE, 0.9, 0.5, "likely"), Finding("W" * 500, 0.1, 0.5, "")]
    caption = Caption(HOSTILE, notes=(HOSTILE,))
    spans = [Span(0, 1, 2, 1)]
    content = figure_bytes(draw_sheet(square_wave(), 500, caption, findings, spans, HOSTILE), kind)
    if kind == "svg":
        assert b"<script" not in content
        root = ElementTree.fromstring(content)
        assert {element.tag for element in root.iter() if "script" in element.tag} == set()
        names = [text.text or "" for text in root.iter(f"{SVG}text")]
        assert any(name.startswith("<script>alert(1)</script>&\"'??") and "$x^2$" in name for name in names)
        assert any(name.startswith("WWW") and name.endswith("…") for name in names)


@given(st.text(max_size=50), st.integers(2, 60))
def test_printable_text_is_one_short_line(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert len(shown) <= limit
    assert shown.isprintable()


def test_the_font_has_every_printable_character() -> None:
    font = matplotlib.ft2font.FT2Font(matplotlib.font_manager.findfont("DejaVu Sans"))
    letters = {character for code in range(0x3000) for character in printable(chr(code))}
    assert {letter for letter in letters if not font.get_char_index(ord(letter))} == set()


def test_the_table_has_every_diagnosis_in_the_order_given() -> None:
    findings = [Finding(f"diagnosis {k}", k / 24, 0.5, STATUS[k % 5], 0.75, None if k else np.nan) for k in range(24)]
    svg = Svg(draw_sheet(square_wave(), 500, findings=findings))
    places = {text: (round(x), -y) for text, x, y in svg.texts() if text.startswith("diagnosis")}
    assert list(places) == sorted(places, key=places.__getitem__) == [finding.name for finding in findings]
    words = [text for text, _, _ in svg.texts()]
    assert words.count("likely") == words.count("possible") == 5
    assert words.count("0.75") == words.count("–") == 24
    assert "0.958" in words  # 23 / 24
    title = svg.root.find(f"{SVG}title")
    assert title is not None
    assert title.text == draw_sheet(square_wave(), 500, findings=findings).get_label()
    assert "Diagnoses: diagnosis 0 (likely), diagnosis 1 (possible), diagnosis 5" in (title.text or "")


def boxes_of(figure: Figure, dpi: float) -> tuple[list[Bbox], list[Bbox]]:
    """Return the bounding boxes of all texts of the panel and of the bars, in pixels."""
    with own_settings():
        figure.set_dpi(dpi)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        page = figure.axes[0]
        texts = [text for text in page.texts if 10 < text.get_position()[1] < 58 and text.get_text()]
        bars = [patch for patch in page.patches if isinstance(patch, Rectangle) and patch.get_height() == 1.7]
        renderer = canvas.get_renderer()
        return [text.get_window_extent(renderer) for text in texts], [bar.get_window_extent(renderer) for bar in bars]


@pytest.mark.parametrize("dpi", [72, 100, 254])
@pytest.mark.parametrize("beside_map", [False, True])
@pytest.mark.parametrize("measured", [False, True])
def test_texts_of_the_panel_are_never_drawn_over_bars_or_each_other(
    dpi: float, beside_map: bool, measured: bool
) -> None:
    names = ["W" * 80, "nonspecific intraventricular conduction disorder (NSIVCB)", "i" * 300]
    figures = (0.61, 0.93) if measured else ()
    findings = [Finding(names[k % 3], k / 23, 0.5, STATUS[k % 5], *figures) for k in range(24)]
    spans = [Span(1, 0.5, 1.0, 2.0)] if beside_map else []
    texts, bars = boxes_of(draw_sheet(square_wave(), 500, findings=findings, spans=spans), dpi)
    assert len(bars) == 48 and len(texts) > 70
    for index, text in enumerate(texts):
        for other in (*bars, *texts[:index]):
            wide = min(text.x1, other.x1) - max(text.x0, other.x0)
            high = min(text.y1, other.y1) - max(text.y0, other.y0)
            assert wide < 0.5 or high < 0.5 * dpi / 25.4, (text, other)  # letters may touch the line above


def test_lead_names_of_a_row_stand_in_line() -> None:
    signal = square_wave() * np.arange(1, 13)[:, None] / 8
    svg = Svg(draw_sheet(signal, 500))
    for row in range(3):
        heights = [
            {round(y, 2) for text, _, y in svg.texts() if text == LEADS[row + 3 * column]} for column in range(4)
        ]
        assert set.intersection(*heights), heights


def test_spans_are_shaded_at_their_position() -> None:
    spans = [Span(1, 0.5, 1.0, 2.0), Span(6, 4.0, 6.0, -1.0), Span(11, 0.0, 5.0, 1.0)]
    svg = Svg(draw_sheet(square_wave(), 500, spans=spans, spans_title="shaded: atrial fibrillation"))
    boxes = [(round(p[:, 0].min(), 2), round(np.ptp(p[:, 0]), 2), p) for p in svg.paths("evidence")]
    # II in its column and in the rhythm strip; V1 from where its column begins; V6 is not drawn so early
    assert sorted(box[:2] for box in boxes) == [(38.5, 12.5), (38.5, 12.5), (151.0, 25.0)]
    for _, _, box in boxes:
        trace = svg.path("lead-V1") if box[0, 0] > 100 else svg.path("lead-II")
        rhythm = svg.path("rhythm")
        assert any(box[:, 1].min() < line[:, 1].min() < box[:, 1].max() for line in (trace, rhythm))
    assert {"shaded: atrial fibrillation", "hatched: against"} <= {text for text, _, _ in svg.texts()}


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_a_sheet_has_the_same_bytes_whatever_the_user_has_configured(tmp_path: Path, kind: str) -> None:
    def draw(path: Path) -> bytes:
        spans = [Span(2, 1, 2, -1), Span(1, 1, 2, 1)]
        save_sheet(path, draw_sheet(square_wave(), 500, Caption("A1"), spans=spans), dpi=100)
        return path.read_bytes()

    first = draw(tmp_path / f"one.{kind}")
    with matplotlib.rc_context({"savefig.bbox": "tight", "font.size": 30, "svg.fonttype": "path", "lines.marker": "o"}):
        second = draw(tmp_path / f"two.{kind.upper()}")
        assert matplotlib.rcParams["font.size"] == 30
    assert first == second
    assert not re.search(rb"(?i)date|20[0-9]{2}-|matplotlib (v|pdf)", first)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"one.{kind}", f"two.{kind.upper()}"]


def test_other_endings_are_refused_and_leave_no_file(tmp_path: Path) -> None:
    figure = draw_sheet(square_wave(), 500)
    for name in ("sheet.jpg", "sheet", "svg"):
        with pytest.raises(ValueError, match=r"\.png, \.svg or \.pdf"):
            save_sheet(tmp_path / name, figure)
    with pytest.raises(OSError, match="no folder"):
        save_sheet(tmp_path / "no folder" / "sheet.svg", figure)
    assert not list(tmp_path.iterdir())


def test_drawing_needs_neither_pyplot_nor_torch(tmp_path: Path) -> None:
    program = (
        "import sys, numpy; from leadwise.report.sheet.sheet import *; "
        "save_sheet(sys.argv[1], draw_sheet(numpy.ones((12, 50)), 50)); "
        "print({'matplotlib.pyplot', 'torch'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "sheet.svg")]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout == "set()\n"


def test_real_recordings_can_be_drawn(shared_folder: Path) -> None:
    for name in ("A0001", "S0001"):
        recording = read_recording(shared_folder / "data" / "challenge" / name)
        signal = standard_leads(recording, "mV")
        svg = Svg(draw_sheet(signal.values, signal.sampling_frequency, caption_of(recording, signal)))
        assert name in svg.words()
        assert np.ptp(svg.path("rhythm")[:, 0]) == pytest.approx(250, abs=0.1)
