"""The library predicts as the container does, from files and from arrays, and shows its results."""

from __future__ import annotations

import doctest
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import leadwise
import leadwise.api
from leadwise.challenge.classes import CODES, DIAGNOSES, label_vector
from leadwise.challenge.evaluation import evaluate_folders
from leadwise.challenge.outputs import write_output
from leadwise.ecg.recording import read_recording
from leadwise.model.scoring import score_files
from tests.conftest import LEADS, header_text
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
    module = doctest.testmod(leadwise.api, extraglobs={"leadwise": leadwise})
    assert module.attempted > 10 and module.failed == 0
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
        (np.zeros((1, 12, 500)), {"sampling_frequency": 500, "lead_names": LEADS}, "array of numbers"),
        (np.array(["A0001"]), {"sampling_frequency": 500, "lead_names": LEADS}, "array of numbers"),
        (np.zeros((12, 500)), {"sampling_frequency": 0, "lead_names": LEADS}, "positive"),
        (np.zeros((12, 500)), {"sampling_frequency": 500, "lead_names": LEADS, "unit": "V"}, "neither 'mV' nor 'uV'"),
        (np.zeros((2, 500)), {"sampling_frequency": 500, "lead_names": ["I", "II\n#Age: 3"]}, "lead names are words"),
        (300 * np.sin(np.arange(6000.0).reshape(12, 500)), {"sampling_frequency": 500, "lead_names": LEADS}, "unit="),
    ],
)
def test_invalid_arguments_are_refused(
    model: leadwise.Classifier, array: np.ndarray, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        model.predict(array, **arguments)


def test_a_recording_that_cannot_be_used_gets_the_prior_and_says_so(folder: Path, model: leadwise.Classifier) -> None:
    missing = model.predict(folder / "ecgs" / "nobody")
    unnamed = model.predict(np.zeros((2, 500)), sampling_frequency=500, lead_names=["EEG 1", "EEG 2"])
    empty = model.predict(np.full((12, 500), np.nan), sampling_frequency=500, lead_names=LEADS)
    for result in (missing, unnamed, empty):
        assert result.error and result.error in str(result)
        np.testing.assert_array_equal(result.probabilities, model.model.prior.scores[0])
        assert "cannot be used" in repr(result) and "cannot be used" in result._repr_html_()
    assert missing.name == "nobody" and "no lead of a standard name" in str(unnamed)
    assert "no sample is a number" in str(empty)


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
    assert lines[0] == "E00001" and len(lines) == 26
    rows = [line[:5].strip() for line in lines[2:]]
    assert rows == ["yes"] * len(result.found) + [""] * (24 - len(result.found))
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
