"""The library predicts as the container does, from files and from arrays, and shows its results."""

from __future__ import annotations

import doctest
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import leadwise
import leadwise.api
import leadwise.ecg.reading
import leadwise.result
import team_code
from leadwise.challenge.classes import CODES, DIAGNOSES, label_vector
from leadwise.challenge.evaluation import evaluate_folders
from leadwise.challenge.outputs import write_output
from leadwise.ecg.recording import Recording, read_recording, recording_from_arrays
from leadwise.model.scoring import score_files
from tests.conftest import LEADS, header_text, v4_matrix
from tests.model.models import write_model, write_model_with_simulation_network

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide the folder of the examples: MODEL, two recordings in ecgs/, outputs for them in answers/."""
    folder = tmp_path_factory.mktemp("library")
    write_model(folder / "MODEL")
    leadwise.simulate.write_folder(folder / "ecgs", 2, 1, sources=["E"])
    (folder / "answers").mkdir()
    for header in (folder / "ecgs").glob("*.hea"):
        labels = label_vector(read_recording(header).header.codes)
        write_output(folder / "answers" / f"{header.stem}.csv", header.stem, CODES, labels, labels)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> leadwise.Classifier:
    return leadwise.load(folder / "MODEL")


def test_import_alone_loads_neither_torch_nor_numpy() -> None:
    program = (
        "import sys, leadwise; heavy = {'torch', 'numpy'}; assert not heavy & set(sys.modules), sys.modules; "
        "assert {'load', 'evaluate', 'simulate'} <= set(dir(leadwise)); leadwise.simulate.simulate; "
        "assert 'torch' not in sys.modules; leadwise.load; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_every_public_name_is_there() -> None:
    for name in leadwise.__all__:
        assert getattr(leadwise, name) is getattr(leadwise, name)
    assert "leadwise" in repr(leadwise.simulate)
    with pytest.raises(AttributeError, match="no attribute 'predictt'"):
        leadwise.predictt  # noqa: B018


def test_the_examples_of_docstrings_and_documents_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    modules = (leadwise.api, leadwise.result, leadwise.ecg.reading)
    found = [doctest.testmod(module, extraglobs={"leadwise": leadwise}) for module in modules]
    assert sum(each.attempted for each in found) > 10 and not any(each.failed for each in found)
    page = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
    examples = doctest.DocTestParser().get_doctest(page, {}, "library.md", "library.md", 0)
    result = doctest.DocTestRunner().run(examples)
    assert result.attempted > 10 and result.failed == 0


def test_the_library_predicts_as_the_container_does(folder: Path, model: leadwise.Classifier) -> None:
    paths = [folder / "ecgs" / f"E0000{k}" for k in (1, 2)]
    results = model.predict(paths)
    for result, scored in zip(results, score_files(model.model, paths), strict=True):
        np.testing.assert_array_equal(result.probabilities, scored.scores)
        np.testing.assert_array_equal(result.labels, scored.labels)
        assert (result.name, result.repairs, result.error) == (scored.name, scored.repairs, scored.error)
        assert result.codes == CODES and result.names == tuple(d.name for d in DIAGNOSES)
        alone = model.predict(str(folder / "ecgs" / f"{result.name}.mat"))
        np.testing.assert_allclose(alone.probabilities, result.probabilities, atol=1e-6)


@pytest.mark.parametrize("frequency", [500, 300, 257.5])
def test_an_array_is_predicted_as_its_file(
    model: leadwise.Classifier, counts: np.ndarray, write_record: Callable[..., Path], frequency: float
) -> None:
    comments = ("#Age: 40.5", "#Sex: Female")
    order = [3, 0, 7, 1, 2, 4, 5, 6, 8, 9, 10, 11]
    names = [LEADS[k] for k in order]
    header = header_text("X0001", counts, frequency, leads=names, comments=comments)
    file = model.predict(write_record("X0001", header=header))
    of = {"sampling_frequency": frequency, "lead_names": names, "age": 40.5, "sex": "female"}
    for array, unit in ((counts, None), (counts, "uV"), (counts.astype(float), "uV"), (counts / 1000, "mV")):
        result = model.predict(array, unit=unit, name="mine", **of)
        np.testing.assert_array_equal(result.probabilities, file.probabilities)
        assert result.repairs == file.repairs == ("leads-reordered",) and result.name == "mine"
    np.testing.assert_array_equal(
        model.predict(counts / 1000, frequency, names, age=40.5, sex="female").labels, file.labels
    )
    assert model.predict(counts.T, **of).repairs == ("transposed", "leads-reordered")


@pytest.mark.parametrize(
    ("array", "arguments", "message"),
    [
        (np.zeros((12, 500)), {}, "needs sampling_frequency"),
        (np.zeros((12, 500)), {"sampling_frequency": 500}, "needs sampling_frequency"),
        (np.zeros((12, 500)), {"sampling_frequency": 500, "lead_names": LEADS[:3]}, "3 lead names for an array of 12"),
        (np.array(["A0001"]), {"sampling_frequency": 500, "lead_names": LEADS}, "a path, an array of numbers"),
        (np.zeros(500), {"sampling_frequency": 500, "lead_names": ["I"]}, r"not ndarray of shape \(500,\)"),
        (np.zeros((12, 500), bool), {"sampling_frequency": 500, "lead_names": LEADS}, "array of numbers"),
        (np.zeros((12, 500)), {"sampling_frequency": 0, "lead_names": LEADS}, "20 to 20000 Hz, not 0"),
        (np.zeros((12, 500)), {"sampling_frequency": "fast", "lead_names": LEADS}, "20 to 20000 Hz, not 'fast'"),
        (np.zeros((12, 500)), {"sampling_frequency": 500, "lead_names": LEADS, "unit": "kV"}, "is none of V, mV, uV"),
        (np.zeros((2, 500)), {"sampling_frequency": 500, "lead_names": [1, 2]}, "lead names are words"),
        (np.zeros((12, 500)), {"sampling_frequency": 500, "lead_names": LEADS, "age": "old"}, "number of years"),
        (np.zeros((12, 500)), {"sampling_frequency": 500, "lead_names": LEADS, "age": -1}, "0 to 300 years"),
        (np.zeros((12, 500)), {"sampling_frequency": 500, "lead_names": LEADS, "sex": "x"}, "'female', 'male' or None"),
        (np.zeros((12, 500)), {"sampling_frequency": 500, "lead_names": LEADS, "errors": "no"}, "'raise' or 'return'"),
        (np.zeros((3, 12, 500)), {"sampling_frequency": [500, 250], "lead_names": LEADS}, "2 values for 3 ECGs"),
        ("E00001", {"age": 50}, "age: only for arrays"),
        (["E00001", np.zeros((12, 500))], {}, "a list of paths or of arrays"),
        ({"I": [1, 2], "II": [1, 2, 3]}, {"sampling_frequency": 500}, r"one length, not \[2, 3\]"),
        (7, {}, "a path, an array of numbers"),
        (None, {}, "a path, an array of numbers"),
    ],
)
def test_invalid_arguments_are_refused(
    model: leadwise.Classifier, array: object, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        model.predict(array, **arguments)


UNUSABLE = {
    "there is no such header": lambda folder: (folder / "ecgs" / "nobody",),
    "no lead of a standard name": lambda folder: (np.zeros((2, 500)), 500, ["EEG 1", "EEG 2"]),
    "no sample is a number": lambda folder: (np.full((12, 500), np.nan), 500, LEADS),
    "is flat in every lead": lambda folder: (np.zeros((12, 500)), 500, LEADS),
    "too short: 1 samples": lambda folder: (np.ones((12, 1)), 500, LEADS),
    "is empty": lambda folder: (folder / "empty",),
}


@pytest.mark.parametrize("reason", UNUSABLE)
def test_a_recording_that_cannot_be_used_is_an_error_and_never_a_diagnosis(
    folder: Path, model: leadwise.Classifier, reason: str
) -> None:
    (folder / "empty.hea").write_text((folder / "ecgs" / "E00001.hea").read_text().replace("E00001", "empty"))
    (folder / "empty.mat").write_bytes(b"")
    ecg, *details = UNUSABLE[reason](folder)
    with pytest.raises(leadwise.RecordingError, match=reason) as caught:
        model.predict(ecg, *details)
    assert caught.value.source == (f"{ecg}.{'mat' if reason == 'is empty' else 'hea'}" if not details else "array")
    result = model.predict(ecg, *details, errors="return")
    assert result.error == str(caught.value) in str(result)
    assert not result.labels.any() and np.isnan(result.probabilities).all()
    assert result.found == result.likely == result.possible == []
    assert "cannot be used" in repr(result) and "cannot be used" in result._repr_html_()
    assert "sinus" not in str(result) + result._repr_html_()


def test_of_several_recordings_the_unusable_ones_are_results_in_their_place(
    folder: Path, model: leadwise.Classifier, counts: np.ndarray
) -> None:
    paths = [folder / "ecgs" / name for name in ("E00001", "nobody", "E00002")]
    results = model.predict(paths)
    assert [result.name for result in results] == ["E00001", "nobody", "E00002"]
    assert [bool(result.error) for result in results] == [False, True, False]
    with pytest.raises(leadwise.RecordingError, match=r"nobody\.hea: there is no such header"):
        model.predict(paths, errors="raise")
    volts = leadwise.simulate.simulate(["NSR"], 1, 500, 10) / 1000
    arrays = [counts / 1000, np.zeros((12, 700)), counts[:, :400] / 1000, volts]
    found = model.predict(arrays, 500, LEADS)
    assert [(result.name, bool(result.error)) for result in found] == [
        *(("array 0", False), ("array 1", True), ("array 2", False), ("array 3", True))
    ]
    assert "are the values V" in str(found[3].error)


def test_unusable_results_are_negative_when_they_are_scored(model: leadwise.Classifier) -> None:
    results = model.predict([np.zeros((12, 500))] * 2, 500, LEADS)
    labels = np.zeros((2, 24), bool)
    labels[0, 3] = True
    assert leadwise.evaluate(labels, results).accuracy == 0.5


@pytest.mark.parametrize(("factor", "unit"), [(1e-3, "V"), (1e3, "uV")])
def test_an_array_of_another_unit_is_refused_unless_it_is_named(
    model: leadwise.Classifier, factor: float, unit: str
) -> None:
    millivolts = leadwise.simulate.simulate(["NSR"], 1, 500, 10)
    with pytest.raises(leadwise.RecordingError, match=f"are the values .*{unit}.*unit="):
        model.predict(millivolts * factor, 500, LEADS)
    named = model.predict(millivolts * factor, 500, LEADS, unit=unit)
    expected = model.predict(millivolts, 500, LEADS)
    np.testing.assert_allclose(named.probabilities, expected.probabilities, atol=1e-5)
    model.predict(millivolts * factor, 500, LEADS, unit="mV")  # said, so it is used


class Frame:
    """A table with the interface of a DataFrame."""

    def __init__(self, values: np.ndarray, columns: Sequence[object]) -> None:
        self.values, self.columns = values, columns

    def to_numpy(self) -> np.ndarray:
        return self.values


def test_whatever_numpy_reads_is_an_ecg(model: leadwise.Classifier, counts: np.ndarray) -> None:
    import torch

    mv = counts / 1000
    expected = model.predict(mv, 500, LEADS)
    masked = np.ma.masked_array(mv, mask=np.zeros(mv.shape, bool))
    arrays = (mv.tolist(), list(mv), torch.tensor(mv), torch.tensor(mv, requires_grad=True), mv.astype(object), masked)
    for ecg in arrays:
        assert np.array_equal(model.predict(ecg, 500, LEADS).probabilities, expected.probabilities), type(ecg)
    for table in (dict(zip(LEADS, mv, strict=True)), Frame(mv.T, LEADS), dict(zip(LEADS[::-1], mv[::-1], strict=True))):
        assert np.array_equal(model.predict(table, 500).probabilities, expected.probabilities)
    assert model.predict(Frame(mv.T, range(12)), 500).repairs == ("leads-by-position",)
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(mv.T, columns=LEADS)
    assert np.array_equal(model.predict(frame, 500).probabilities, expected.probabilities)


def test_masked_samples_are_missing(model: leadwise.Classifier, counts: np.ndarray) -> None:
    mv, mask = counts / 1000, np.zeros(counts.shape, bool)
    mask[3, 100:200] = True
    masked = model.predict(np.ma.masked_array(mv, mask=mask), 500, LEADS)
    assert masked.repairs == ("samples-interpolated",)
    assert np.array_equal(masked.probabilities, model.predict(np.where(mask, np.nan, mv), 500, LEADS).probabilities)


def test_several_arrays_are_predicted_as_each_alone(model: leadwise.Classifier, counts: np.ndarray) -> None:
    mv = np.stack([counts / 1000, counts[::-1] / 900])
    alone = [model.predict(one, 500, LEADS, age=age) for one, age in zip(mv, (40, 80), strict=True)]
    for ecgs in (mv, list(mv), iter(mv)):
        results = model.predict(ecgs, 500, LEADS, age=[40, 80])
        for result, expected in zip(results, alone, strict=True):
            np.testing.assert_allclose(result.probabilities, expected.probabilities, atol=1e-6)
    lengths = [mv[0], mv[1][:, :300], mv[1][:3]]
    results = model.predict(
        lengths, [500, 250, 300], [LEADS, LEADS, LEADS[:3]], sex=["female", None, "male"], name=["a", "b", "c"]
    )
    assert [result.name for result in results] == ["a", "b", "c"]
    assert results[2].repairs == ("lead-derived", "lead-missing")
    assert model.predict(read_recording_of(counts)).error is None


def test_quality_warnings_can_be_left_out(model: leadwise.Classifier, counts: np.ndarray) -> None:
    mv = counts / 1000
    mv[6] = np.random.default_rng(0).normal(size=mv.shape[1])
    looked, unlooked = (model.predict([mv], 500, LEADS, quality=quality)[0] for quality in (True, False))
    assert looked.warnings and not unlooked.warnings
    assert np.array_equal(looked.probabilities, unlooked.probabilities)


def test_features_of_an_ecg_are_those_of_its_file_and_an_unusable_one_has_none(
    folder: Path, model: leadwise.Classifier
) -> None:
    ecg, path = leadwise.read(folder / "ecgs" / "E00001"), folder / "ecgs" / "E00001"
    features = model.embed(path)
    assert features.shape == (8,) and features.dtype == np.float32
    mv = (ecg.counts - ecg.baseline[:, None]) / ecg.adc_gain[:, None]
    array = model.embed(mv, ecg.sampling_frequency, ecg.lead_names, age=30, sex="male")
    np.testing.assert_allclose(array, features, atol=1e-5)
    rows = model.embed([path, folder / "missing", path], batch_size=2)
    assert rows.shape == (3, 8) and np.isnan(rows[1]).all()
    np.testing.assert_allclose(rows[[0, 2]], [features, features], atol=1e-6)
    assert model.embed([]).shape == (0, 8)
    for call in ([folder / "missing"], folder / "missing"):
        with pytest.raises(leadwise.RecordingError, match="missing"):
            model.embed(call, errors="raise")
    assert np.isnan(model.embed(folder / "missing", errors="return")).all()


def read_recording_of(counts: np.ndarray) -> Recording:
    return recording_from_arrays(header_text("X1", counts), counts)


class Cells(HTMLParser):
    """Collects the tags and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += f"{data}\n"


def test_results_print_in_a_terminal_and_in_a_notebook(folder: Path, model: leadwise.Classifier) -> None:
    result = model.predict(folder / "ecgs" / "E00001")
    lines = str(result).splitlines()
    notes = [line for line in lines if line.startswith("warning: ")]
    assert [note[9:] for note in notes] == list(result.warnings)
    assert lines[0] == "E00001" and len(lines) == 26 + len(notes)
    rows = [line[:10].strip() for line in lines[-24:]]
    likely, possible = len(result.likely), len(result.possible)
    assert rows == ["likely"] * likely + ["possible"] * possible + [""] * (24 - likely - possible)
    assert set(result.likely) == {DIAGNOSES[k].name for k in np.flatnonzero(result.probabilities >= 0.5)}
    assert set(result.possible) == set(result.found) - set(result.likely)
    assert "\n" not in repr(result) and "E00001" in repr(result)
    page = Cells(result._repr_html_())
    assert page.tags.count("tr") == 26 and page.tags.count("details") == 1
    for diagnosis, probability in zip(DIAGNOSES, result.probabilities, strict=True):
        assert f"{diagnosis.name} ({diagnosis.abbreviation})" in page.text and f"{probability:.3f}" in page.text


def test_text_of_a_file_is_never_markup(model: leadwise.Classifier, counts: np.ndarray) -> None:
    name = "<script>alert(1)</script>&\"'"
    result = model.predict(counts, sampling_frequency=500, lead_names=LEADS, name=name)
    page = Cells(result._repr_html_())
    assert "script" not in page.tags and name in page.text


def test_scores_of_folders_and_of_results(folder: Path, model: leadwise.Classifier) -> None:
    expected = evaluate_folders(folder / "ecgs", folder / "answers")
    assert leadwise.evaluate(str(folder / "ecgs"), folder / "answers").challenge_metric == expected.challenge_metric
    headers = sorted((folder / "ecgs").glob("*.hea"))
    labels = np.array([label_vector(read_recording(header).header.codes) for header in headers])
    results = model.predict(headers)
    scores = leadwise.evaluate(labels, results)
    assert scores.accuracy == np.mean([(r.labels == y).all() for r, y in zip(results, labels, strict=True)])
    with pytest.raises(ValueError, match="differ in shape"):
        leadwise.evaluate(labels[:1], results)
    with pytest.raises(ValueError, match="list of results"):
        leadwise.evaluate(labels, "answers")


def test_a_progress_bar_is_shown_if_it_is_requested(
    folder: Path, model: leadwise.Classifier, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [folder / "ecgs" / "E00001", folder / "ecgs" / "E00002"]
    model.predict(paths)
    assert capsys.readouterr() == ("", "")
    model.predict(iter(paths), progress=True)
    assert "2/2" in capsys.readouterr().err
    assert model.predict([]) == []


def test_a_model_that_cannot_be_loaded_is_explained_in_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leadwise.api, "PRETRAINED", folder / "not there")
    with pytest.raises(leadwise.ModelError, match="no pretrained model; give a model folder") as error:
        leadwise.load()
    assert "\n" not in str(error.value)
    monkeypatch.setattr(leadwise.api, "PRETRAINED", folder / "MODEL")
    assert len(leadwise.load().model.networks) == 3
    with pytest.raises(ValueError, match="device: 'tpu' is not one of auto, cpu, cuda"):
        leadwise.load(folder / "MODEL", device="tpu")


def test_an_unfamiliar_acquisition_profile_is_shown(tmp_path: Path, counts: np.ndarray) -> None:
    write_model_with_simulation_network(tmp_path)
    result = leadwise.load(tmp_path).predict(counts, sampling_frequency=500, lead_names=LEADS)
    assert result.out_of_distribution and leadwise.Result.OUT_OF_DISTRIBUTION in str(result)
    assert leadwise.Result.OUT_OF_DISTRIBUTION in result._repr_html_()
    assert np.isnan(result.thresholds).all() and " - " in result.table()


def test_the_site_decides_whether_a_recording_is_out_of_distribution(tmp_path: Path, counts: np.ndarray) -> None:
    write_model_with_simulation_network(tmp_path)
    results = {
        site: leadwise.load(tmp_path, site=site).predict(counts, 500, LEADS) for site in ("auto", "training", "unknown")
    }
    assert [results[site].out_of_distribution for site in results] == [True, False, True]
    assert results["training"].in_distribution == 1 and results["unknown"].in_distribution == 0
    assert np.abs(results["auto"].probabilities - results["unknown"].probabilities).max() < 0.05
    assert not np.array_equal(results["training"].probabilities, results["unknown"].probabilities)
    with pytest.raises(ValueError, match="site: 'home' is not one of auto, training, unknown"):
        leadwise.load(tmp_path, site="home")


def test_the_shipped_model_warns_once_of_a_recording_that_looks_like_its_training_data(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ecg = np.round(leadwise.simulate.simulate(["NSR"], 1, 500, 10) * 1000).astype(int)  # as PTB-XL: 500 Hz, 10 s, 1 uV
    model = leadwise.load(threads=1)
    assert not model.predict(ecg, 500, LEADS).out_of_distribution
    model.predict(ecg, 500, LEADS)
    assert caplog.text.count("site='unknown'") == 1
    caplog.clear()
    leadwise.load(threads=1, site="unknown").predict(ecg, 500, LEADS)
    leadwise.load(threads=1).predict(ecg, 333, LEADS)
    assert "site" not in caplog.text


@pytest.mark.parametrize(
    "leads", [LEADS, LEADS[:6], ("I", "II", "III", "V2"), ("I", "II", "V2"), ("I", "II"), ("aVF", "C5", "aVL")]
)
def test_a_lead_set_is_predicted_alike_through_every_door(
    folder: Path,
    model: leadwise.Classifier,
    counts: np.ndarray,
    write_record: Callable[..., Path],
    leads: tuple[str, ...],
) -> None:
    """File, array, and the organisers' drivers of 2020 and 2021 give the same probabilities and repairs."""
    some = counts[: len(leads)]
    header = header_text("X0001", some, 500, leads=leads, comments=("#Age: 40", "#Sex: Female"))
    path = write_record("X0001", header=header, matrix=v4_matrix(some))
    from_file = model.predict(path)
    from_array = model.predict(some, 500, leads, age=40, sex="female")
    assert from_array.repairs == from_file.repairs and from_array.warnings == from_file.warnings
    _, _, of_2021 = team_code.run_model(model.model, header, some)
    _, of_2020, _ = team_code.run_12ECG_classifier(some.astype(float), header.splitlines(keepends=True), model.model)
    for probabilities in (from_array.probabilities, of_2021, of_2020):
        assert np.array_equal(probabilities, from_file.probabilities)


def test_threads_share_a_model(folder: Path, model: leadwise.Classifier) -> None:
    paths = [folder / "ecgs" / name for name in ("E00001", "E00002")]
    expected = [model.predict(path).probabilities for path in paths]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda k: model.predict(paths[k % 2]).probabilities, range(180)))
    assert all(np.array_equal(each, expected[k % 2]) for k, each in enumerate(found))
