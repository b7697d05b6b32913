"""Tests of the evaluator: the command, odd and malformed files, and equality with the naive evaluator."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadwise.challenge.classes import CODES, label_vector
from leadwise.challenge.evaluation import class_scores_table, evaluate_folders, read_folders, scores_table
from leadwise.challenge.outputs import write_output
from leadwise.ecg.discovery import find_records
from leadwise.ecg.header import header_codes, parse_header
from tests import naive

SCRIPT = Path(__file__).resolve().parents[2] / "evaluate_12ECG_score.py"
NAMES = "AUROC,AUPRC,Accuracy,F-measure,Fbeta-measure,Gbeta-measure,Challenge metric"


def run(*arguments, cwd=None):
    """Run the command as a subprocess."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LEADWISE_")}
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environ, check=False)


def header_of(codes, dx="#Dx: "):
    return f"A0001 1 500 5000\nA0001.mat 16 1000/mV\n#Age: 74\n{dx}{','.join(codes)}\n#Rx: Unknown\n"


def write_case(folder, headers, outputs):
    """Write folders `labels` and `outputs` with files 000, 001, ...; None leaves an output out."""
    (folder / "labels").mkdir()
    (folder / "outputs").mkdir()
    for i, (header, output) in enumerate(zip(headers, outputs, strict=True)):
        (folder / "labels" / f"{i:03d}.hea").write_text(header, newline="")
        if output is not None:
            (folder / "outputs" / f"{i:03d}.csv").write_text(output, newline="")
    return folder / "labels", folder / "outputs"


@pytest.fixture
def case(tmp_path):
    """Write forty random recordings as folders; return these and the naive evaluator's scores."""
    rng = np.random.default_rng(8)
    headers = [header_of([code for code in CODES if rng.random() < 0.1]) for _ in range(40)]
    outputs = []
    for scores in rng.random((40, 24)):
        labels = ",".join(str(int(score > 0.8)) for score in scores)
        outputs.append(f"#name\n{','.join(CODES)}\n{labels}\n{','.join(map(str, scores))}\n")
    return *write_case(tmp_path, headers, outputs), naive.evaluate_texts(headers, outputs)


def score_values(expected):
    """Format the second line of the evaluator's table."""
    names = ["auroc", "auprc", "accuracy", "f_measure", "f_beta", "g_beta", "challenge_metric"]
    return ",".join(f"{expected[name]:.3f}" for name in names)


# The command ----------------------------------------------------------------------------------------------------


def test_the_command_prints_two_lines(case):
    labels, outputs, expected = case
    result = run(labels, outputs)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{NAMES}\n{score_values(expected)}\n", "")


def test_folders_may_be_relative_and_end_in_a_slash(case):
    labels, _, expected = case
    result = run("labels/", "outputs/", cwd=labels.parent)
    assert result.stdout == f"{NAMES}\n{score_values(expected)}\n"


def test_with_an_output_file_the_two_lines_are_written_and_nothing_is_printed(case):
    labels, outputs, expected = case
    result = run(labels, outputs, "scores.csv", cwd=labels.parent)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert (labels.parent / "scores.csv").read_text() == f"{NAMES}\n{score_values(expected)}\n"


def test_a_second_output_file_gets_the_scores_by_class(case):
    labels, outputs, expected = case
    result = run(labels, outputs, "scores.csv", "class_scores.csv", cwd=labels.parent)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    rows = [("AUROC", "class_auroc"), ("AUPRC", "class_auprc"), ("F-measure", "class_f_measure")]
    lines = [f"Classes,{','.join(CODES)}"]
    lines += [",".join([name, *(f"{value:.3f}" for value in expected[key])]) for name, key in rows]
    assert (labels.parent / "class_scores.csv").read_text().splitlines() == lines
    assert sorted(path.name for path in labels.parent.iterdir()) == [
        "class_scores.csv",
        "labels",
        "outputs",
        "scores.csv",
    ]


def test_a_missing_output_is_an_error_with_its_name(case):
    labels, outputs, _ = case
    (outputs / "017.csv").unlink()
    result = run(labels, outputs, "scores.csv", cwd=labels.parent)
    assert result.returncode == 1 and result.stdout == ""
    assert "017.csv" in result.stderr and len(result.stderr.splitlines()) == 1
    assert not (labels.parent / "scores.csv").exists()


def test_a_malformed_output_causes_a_warning_with_its_name_and_the_scores_are_printed(tmp_path):
    outputs = [f"{CODES[0]}\n1\n0.5\n", f"{CODES[0]}\n1\n"]
    headers = [header_of([CODES[0]])] * 2
    result = run(*write_case(tmp_path, headers, outputs))
    warning, *lines = result.stdout.splitlines()
    assert "001.csv" in warning and "000.csv" not in warning
    assert lines == [NAMES, score_values(naive.evaluate_texts(headers, outputs))]
    assert result.returncode == 0


def test_undefined_scores_are_printed_as_nan(tmp_path):
    result = run(*write_case(tmp_path, [header_of([])], [f"{CODES[0]}\n0\n0.5\n"]))
    assert result.stdout.splitlines()[1] == "nan,nan,1.000,nan,nan,nan,0.000"


@pytest.mark.parametrize(
    "arguments", [(), ("labels",), ("labels", "outputs", "a", "b", "c"), ("labels", "outputs", "--quick")]
)
def test_wrong_arguments_exit_with_2_and_one_line(case, arguments):
    result = run(*arguments, cwd=case[0].parent)
    assert result.returncode == 2 and result.stdout == ""
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("nowhere", "outputs"), "nowhere"),
        (("labels", "nowhere"), "000.csv"),
        (("outputs", "outputs"), "outputs"),  # a folder without headers
        (("labels", "outputs", "nowhere/scores.csv"), "nowhere"),
    ],
)
def test_a_failure_exits_with_1_and_one_line_that_names_the_path(case, arguments, named):
    result = run(*arguments, cwd=case[0].parent)
    assert result.returncode == 1 and result.stdout == ""
    assert named in result.stderr and len(result.stderr.splitlines()) == 1


def test_the_command_imports_neither_torch_nor_scipy_nor_matplotlib(case, tmp_path):
    arguments = [str(case[0]), str(case[1]), str(tmp_path / "scores.csv")]
    program = f"""import sys, evaluate_12ECG_score
status = evaluate_12ECG_score.main({arguments})
print(status, sorted({{'torch', 'scipy', 'wfdb', 'matplotlib', 'jinja2'}} & set(sys.modules)))"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=SCRIPT.parent, check=True
    )
    assert result.stdout == "0 []\n"


# Files ----------------------------------------------------------------------------------------------------------


def test_extra_outputs_hidden_headers_and_other_files_are_ignored(case):
    labels, outputs, expected = case
    (labels / "._000.hea").write_text(header_of(CODES))
    (labels / "README.txt").write_text("#Dx: 164889003\n")
    (labels / "folder.hea").mkdir()
    (outputs / "998.csv").write_text("nonsense")
    assert scores_table(evaluate_folders(labels, outputs)) == f"{NAMES}\n{score_values(expected)}\n"


def test_headers_are_found_where_the_driver_finds_recordings(case):
    labels, outputs, expected = case
    other = labels.parent / "other"
    for folder, numbers in ((labels / "site1" / "g1", range(10)), (labels / "site2", range(10, 20)), (other, [39])):
        folder.mkdir(parents=True)
        for number in numbers:
            (labels / f"{number:03d}.hea").rename(folder / f"{number:03d}.hea")
    (labels / "linked").symlink_to("../other")
    data = read_folders(labels, outputs)
    assert [path.with_suffix("") for path in data.headers] == find_records(labels) and len(data.headers) == 40
    assert scores_table(evaluate_folders(labels, outputs)) == f"{NAMES}\n{score_values(expected)}\n"
    assert run(labels, outputs).stdout == f"{NAMES}\n{score_values(expected)}\n"
    (labels / "site2" / "000.hea").write_text(header_of([]))
    result = run(labels, outputs)
    assert result.returncode == 1 and "two recordings are named 000" in result.stderr


def test_a_header_that_is_no_file_is_refused(case):
    labels, outputs, _ = case
    (labels / "003.hea").unlink()
    for make in (os.mkfifo, lambda path: path.symlink_to("nowhere")):  # reading a pipe would never end
        make(labels / "003.hea")
        with pytest.raises(ValueError, match=r"003\.hea is not a regular file"):
            read_folders(labels, outputs)
        (labels / "003.hea").unlink()


def test_an_upper_case_extension_is_a_header_too(case):
    labels, outputs, expected = case
    (labels / "003.hea").rename(labels / "003.HEA")
    assert scores_table(evaluate_folders(labels, outputs)) == f"{NAMES}\n{score_values(expected)}\n"
    (outputs / "003.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"003\.csv"):
        evaluate_folders(labels, outputs)


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        (header_of(["270492004", "164889003"]), ("270492004", "164889003")),
        (header_of(["270492004", "164889003"], "# Dx: "), ("270492004", "164889003")),
        (header_of(["270492004"], "#Dx:"), ("270492004",)),
        (header_of(["270492004 ", " 164889003", ""]).replace("\n", "\r\n"), ("270492004", "164889003")),
        (header_of(["AF"], "  ##\tdx :"), ("AF",)),
        (header_of([]), ()),
        (header_of([]).replace("#Dx: ", "#Dy: "), ()),
        (header_of(["164889003"]) + "# Dx: 270492004\n", ("164889003", "270492004")),
        (header_of(["55827005"]).replace("#Dx", "#Dxs: 164889003\n#Hx: Dx: 270492004\n#Dx"), ("55827005",)),
    ],
)
def test_header_codes_equal_those_of_the_full_header_parser(tmp_path, text, codes):
    (tmp_path / "A0001.hea").write_text(text, newline="")
    assert header_codes((tmp_path / "A0001.hea").read_bytes()) == parse_header(text).codes == codes


@pytest.mark.parametrize("text", ["nonsense\n\n#Dx: 164889003", "#Dx: 164889003", "A 12 500\n# Dx:164889003\n"])
def test_an_invalid_header_still_has_its_labels(tmp_path, text):
    (tmp_path / "A0001.hea").write_text(text)
    assert header_codes((tmp_path / "A0001.hea").read_bytes()) == ("164889003",)


def test_an_empty_header_has_no_labels(tmp_path):
    (tmp_path / "A0001.hea").touch()
    assert header_codes((tmp_path / "A0001.hea").read_bytes()) == ()


@pytest.mark.parametrize("start", [b"\xef\xbb\xbf", b"#Hx: Herzmuskelentz\xfcndung\n"])
def test_a_byte_order_mark_and_latin_1_do_not_hide_the_codes(tmp_path, start):
    (tmp_path / "A0001.hea").write_bytes(start + b"#Dx: 164889003\n")
    assert header_codes((tmp_path / "A0001.hea").read_bytes()) == ("164889003",)


def test_a_pair_of_2021_is_not_scored_as_one(tmp_path):
    headers, outputs = [header_of(["733534002"])], ["164909002\n1\n0.9\n"]
    assert evaluate_folders(*write_case(tmp_path, headers, outputs)).accuracy == 0


def test_equivalent_codes_in_headers_and_outputs_match(tmp_path):
    headers = [header_of(["59118001"]), header_of(["713427006"]), header_of(["17338001", "427172004"])]
    outputs = ["713427006\n1\n0.9\n", "59118001,713427006\n1,0\n0.2,nan\n", "427172004,17338001\n0,T\n0.1,0.3\n"]
    scores = evaluate_folders(*write_case(tmp_path, headers, outputs))
    assert (scores.accuracy, scores.auroc, scores.challenge_metric) == (1.0, 1.0, 1.0)


CODE = st.sampled_from(
    [*CODES[:4], "713427006", "59118001", "17338001", "427172004", "426783006", "55827005", "AF", ""]
)
SCORE = st.sampled_from(["0.5", "0.25", "1", "0", "nan", "NaN", "-0.5", "high", "", "1e-3", "0.7 "])
LABEL = st.sampled_from(["1", "0", "True", "true", "T", "t", "false", "1.0", " 1", "nan"])
HEADERS = st.one_of(
    st.builds(header_of, st.lists(CODE, max_size=5), st.sampled_from(["#Dx: ", "# Dx: ", "#Dx:", "#Dx:  "])),
    st.sampled_from(["A 12 500 5000\n", "", "#Dx: 164889003\r\n#Dx: 713427006\r\n"]),
)


@st.composite
def output_texts(draw):
    """Draw outputs with repeated, unknown and equivalent classes; some are malformed."""
    columns = draw(st.lists(st.tuples(CODE, LABEL, SCORE), min_size=1, max_size=8))
    rows = [",".join(row) for row in zip(*columns, strict=True)]
    damage = draw(st.sampled_from(["none", "none", "none", "short line", "two lines", "empty", "blank lines"]))
    if damage == "short line":
        rows[2] += ",0.5"
    if damage == "blank lines":
        rows = ["", rows[0], "  # labels", rows[1], " ", rows[2]]
    rows = {"two lines": rows[:2], "empty": []}.get(damage, rows)
    return "\n".join(["#A0001", *rows]) + "\n"


@settings(max_examples=120)
@given(st.lists(st.tuples(HEADERS, output_texts()), min_size=1, max_size=12))
def test_odd_files_give_the_scores_of_the_naive_evaluator(tmp_path_factory, pairs):
    headers, outputs = zip(*pairs, strict=True)
    warnings = []
    scores = evaluate_folders(*write_case(tmp_path_factory.mktemp("case"), headers, outputs), warnings.append)
    expected = naive.evaluate_texts(headers, outputs)
    for name, value in dataclasses.asdict(scores).items():
        np.testing.assert_allclose(value, expected[name], rtol=0, atol=1e-12, equal_nan=True, err_msg=name)
    assert len(warnings) == sum(naive.columns_of_output(output) is None for output in outputs)


# Real headers ---------------------------------------------------------------------------------------------------


def test_real_labels_used_as_outputs_score_one(shared_folder, tmp_path):
    folder = shared_folder / "data" / "challenge"
    headers = sorted(folder.glob("*.hea"))
    assert len(headers) == 152
    for header in headers:
        assert header_codes(header.read_bytes()) == parse_header(header.read_bytes()).codes
        labels = label_vector(header_codes(header.read_bytes())).astype(int)
        write_output(tmp_path / f"{header.stem}.csv", header.stem, CODES, labels, labels.astype(float))
    scores = evaluate_folders(folder, tmp_path)
    assert (scores.accuracy, scores.f_measure, scores.challenge_metric) == (1.0, 1.0, 1.0)
    assert class_scores_table(scores).splitlines()[0].startswith("Classes,270492004,")
