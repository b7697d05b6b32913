"""Write recordings with every kind of bad input, and the tables of docs/file-formats.md with the outcome of each.

`python -m tests.bad_input` writes the tables; tests/test_bad_input.py runs the driver over the same recordings and
compares. Each kind is one recording with a single defect, unless its title says more.
"""

from __future__ import annotations

import ast
import os
import re
import struct
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from leadwise.ecg import header, preprocessing, quality, recording, repairs
from leadwise.ecg import leads as leads_module
from leadwise.ecg.discovery import find_records
from leadwise.ecg.files import matlab, segments, signal_files
from leadwise.ecg.formats import FORMAT_REPAIRS
from leadwise.model import scoring
from leadwise.model.ensemble import Model
from leadwise.model.prediction import Prediction
from leadwise.model.scoring import score_files
from tests.conftest import LEADS, header_text, v4_matrix

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "file-formats.md"
GOOD = np.random.default_rng(1).integers(-3000, 3000, (12, 600)).astype(np.int16)

Content = str | bytes | Callable[[Path], object] | None  # of a file, or a function that makes it, or no file


@dataclass(frozen=True)
class Kind:
    """One kind of bad input: a title and the recording's files."""

    title: str
    header: Content = ""
    signal: Content = None
    others: Mapping[str, bytes] | None = None  # further files, by suffix
    name: str = ""  # of the recording, if it matters
    suffixes: tuple[str, str] = (".hea", ".mat")

    def write(self, folder: Path, name: str) -> None:
        """Write the recording."""
        for suffix, content in zip(self.suffixes, (self.header, self.signal), strict=True):
            path = folder / (name + suffix)
            if callable(content):
                content(path)
            elif content is not None:
                data = content.encode() if isinstance(content, str) else content
                path.write_bytes(data.replace(b"X0001", os.fsencode(name)))
        for suffix, data in (self.others or {}).items():
            (folder / (name + suffix)).write_bytes(data.replace(b"X0001", os.fsencode(name)))


# --- Good files, and functions that damage them

TEXT = header_text("X0001", GOOD)
MATRIX = v4_matrix(GOOD)


def in_header(title: str, old: str, new: str, times: int = -1, **more: Any) -> Kind:
    """Return a good recording with some words of its header replaced."""
    assert old in TEXT, old
    return Kind(title, TEXT.replace(old, new, times), MATRIX, **more)


def in_signal(title: str, counts: np.ndarray, leads: tuple[str, ...] = LEADS) -> Kind:
    """Return these counts with a header that fits."""
    integers = np.nan_to_num(counts, nan=0, posinf=0, neginf=0).clip(-32768, 32767).astype(np.int16)
    kept = v4_matrix(counts) if counts.dtype == np.int16 else saved(val=counts)
    return Kind(title, header_text("X0001", integers, leads=leads), kept)


def matrix(title: str, content: Content) -> Kind:
    """Return a good header with this signal file."""
    return Kind(title, TEXT, content)


def saved(**variables: Any) -> bytes:
    """Return a MATLAB v5 file without the date in its first line."""
    stream = BytesIO()
    scipy.io.savemat(stream, variables)
    return b"MATLAB 5.0".ljust(116) + stream.getvalue()[116:]


def changed(rows: Any, columns: Any, value: float, dtype: type = np.int16) -> np.ndarray:
    """Return good counts with `value` in some places."""
    counts = GOOD.astype(dtype)
    counts[rows, columns] = value
    return counts


def link(target: str) -> Callable[[Path], object]:
    """Return a function that makes a symbolic link."""
    return lambda path: path.symlink_to(target)


def linked(content: bytes) -> Callable[[Path], object]:
    """Return a function that makes a link to a regular file of another name."""

    def make(path: Path) -> None:
        target = path.with_name(f"target of {path.name}.bytes")
        target.write_bytes(content.replace(b"X0001", os.fsencode(path.stem)))
        path.symlink_to(target.name)

    return make


def steps_to_the_end() -> np.ndarray:
    """Return counts of which three leads rise to the highest count in steps, remain there and return."""
    counts = GOOD.copy()
    counts[6:9, 100:300] = np.concatenate([np.linspace(0, 32767, 50), np.full(100, 32767), np.linspace(32767, 0, 50)])
    return counts


NOT_A_NUMBER, HALF = float("nan"), slice(0, 300)
LIMB = changed([2, 3, 4, 5], slice(None), 0)
WFDB = TEXT.replace(".mat 16+24", ".dat 16")

# --- The kinds

KINDS = (
    Kind("a good recording", TEXT, MATRIX),
    # files
    Kind("signal without a header", None, MATRIX),
    Kind("header without a signal", TEXT, None),
    Kind("empty header", "", MATRIX),
    Kind("header of blank lines", "\n \n\n", MATRIX),
    Kind("header of random bytes", np.random.default_rng(2).bytes(300), MATRIX),
    Kind("header of 2 MB", TEXT + "#" * (1 << 21), MATRIX),
    Kind("header is a pipe", os.mkfifo, MATRIX),
    Kind("header is a device", link("/dev/zero"), MATRIX),
    Kind("header is a link to nothing", link("nothing"), MATRIX),
    Kind("header and signal are links to regular files", linked(TEXT.encode()), linked(MATRIX)),
    matrix("empty signal file", b""),
    matrix("signal file of 10 bytes", MATRIX[:10]),
    matrix("signal file cut off in the middle", MATRIX[: len(MATRIX) // 2]),
    matrix("signal file with its last byte missing", MATRIX[:-1]),
    matrix("signal file followed by other bytes", MATRIX + b"more"),
    matrix("signal file is text", "1,2,3\n4,5,6\n" * 20),
    matrix("signal file is a picture", b"\x89PNG\r\n\x1a\n" + np.random.default_rng(3).bytes(500)),
    matrix("signal file is HDF5 (MATLAB 7.3)", b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM" + bytes(400)),
    matrix("signal file is a link to itself", lambda path: path.symlink_to(path.name)),
    matrix("signal file is a link to nothing", link("nothing")),
    matrix("signal file is a pipe", os.mkfifo),
    matrix("signal file is a device", link("/dev/zero")),
    matrix("signal file is a folder", Path.mkdir),
    Kind("file endings in upper case", TEXT, MATRIX, suffixes=(".HEA", ".MAT")),
    Kind("file name with blanks and quotes", TEXT.replace("X0001", "X1"), MATRIX, name="it's \"A 1\""),
    Kind("file name with a line end", TEXT.replace("X0001", "X1"), MATRIX, name="X\n1"),
    Kind("file name in Latin-1", TEXT.replace("X0001", "X1"), MATRIX, name=os.fsdecode(b"M\xfcller")),
    Kind("file name with the ending of another file", TEXT.replace("X0001", "X.dat"), MATRIX, name="X.dat"),
    # the record line
    Kind("header of one line of text", "twelve leads\n", MATRIX),
    in_header("10^12 samples declared", " 600 12-May", f" {10**12} 12-May"),
    in_header("10^9 leads declared", "X0001 12 ", f"X0001 {10**9} "),
    in_header("no leads declared", "X0001 12 ", "X0001 0 "),
    in_header("13 leads declared, 12 described", "X0001 12 ", "X0001 13 "),
    in_header("11 leads declared, 12 there", "X0001 12 ", "X0001 11 "),
    Kind("12 leads declared, none described", TEXT.splitlines()[0] + "\n#Age: 50\n", MATRIX),
    in_header("sampling frequency 0", "X0001 12 500", "X0001 12 0"),
    in_header("sampling frequency -500", "X0001 12 500", "X0001 12 -500"),
    in_header("sampling frequency of a gigahertz", "X0001 12 500", "X0001 12 1e9"),
    in_header("sampling frequency NaN", "X0001 12 500", "X0001 12 NaN"),
    Kind(
        "sampling frequency that Georgia never has", TEXT.replace("12 500 ", "12 400 "), MATRIX, name="E0002"
    ),
    in_header("sampling frequency missing", "X0001 12 500 600 12-May-2020 12:33:59", "X0001 12"),
    in_header("fewer samples declared than there are", " 600 12-May", " 599 12-May"),
    in_header("more samples declared than there are", " 600 12-May", " 7500 12-May"),
    in_header("number of samples is no number", " 600 12-May", " 6OO 12-May"),
    in_header("record name is a path", "X0001 12", "../X0001 12"),
    in_header("record name of another recording", "X0001 12", "X0002 12"),
    # signal lines
    in_header("signal file ../../other.mat", "X0001.mat", "../../other.mat"),
    in_header("signal file by an absolute path", "X0001.mat", "/etc/passwd"),
    in_header("signal file in the record's own folder, by ./", "X0001.mat", "./X0001.mat"),
    in_header("signal file without its ending", "X0001.mat", "X0001"),
    in_header("all lines name the file of another recording", "X0001.mat", "X0002.mat"),
    in_header("one line names the file of another recording", "X0001.mat", "X0002.mat", 1),
    in_header("format is no number", ".mat 16+24", ".mat x"),
    in_header("gain 0", "1000/mV", "0/mV"),
    in_header("gain of 10^99", "1000/mV", "1e99/mV"),
    in_header("gain of 10^99 in one line", "1000/mV", "1e99/mV", 1),
    in_header("gain in words in one line", "1000/mV", "much/mV", 1),
    in_header("baseline and ADC zero with decimals", "1000/mV 16 0", "1000.0(0.0)/mV 16 0.0"),
    in_header("gain in another unit", "1000/mV", "1000/mmHg"),
    in_header("gains that differ between leads", "1000/mV", "500/mV", 1),
    Kind("gain known to be wrong (Georgia)", TEXT.replace("1000/mV", "4880/mV"), MATRIX, name="E0001"),
    in_header("baseline of 30 digits", "1000/mV", f"1000({'1' * 30})/mV"),
    in_header("line ends after the gain", "1000/mV 16 0", "1000/mV\n#", 1),
    in_header("lead without a name", " 0 aVR\n", " 0\n"),
    in_header("lead names in capitals", " aV", " AV"),
    in_header("a lead with an unknown name", " V3\n", " X\n"),
    in_header("two leads of one name", " V3\n", " V2\n"),
    Kind("lead names with words before them", re.sub(r" 0 (a?V\w+|I+)\n", r" 0 MDC_ECG_LEAD_\1\n", TEXT), MATRIX),
    Kind("twelve lead names that say nothing", re.sub(r" 0 (a?V\w+|I+)\n", " 0 channel 1\n", TEXT), MATRIX),
    Kind("twelve unknown lead names", re.sub(r" 0 (a?V\w+|I+)\n", r" 0 axis \1\n", TEXT), MATRIX),
    in_header("V1 to V6 named C1 to C6", " V", " C"),
    in_signal("lead -aVR in place of aVR", GOOD, (*LEADS[:3], "-aVR", *LEADS[4:])),
    in_signal("leads in reverse order", GOOD[::-1], LEADS[::-1]),
    in_signal("eight leads", GOOD[[0, 1, 6, 7, 8, 9, 10, 11]], ("I", "II", *LEADS[6:])),
    in_signal("leads I and II alone", GOOD[:2], LEADS[:2]),
    in_signal("lead V5 alone", GOOD[:1], ("V5",)),
    in_signal("three leads of unknown names", GOOD[:3], ("X", "Y", "Z")),
    Kind("two signal lines exchanged", TEXT.replace(" I\n", " *\n").replace(" II\n", " I\n").replace(" *\n", " II\n"),
         MATRIX),
    in_header("a first value that is not the signal's", f" {GOOD[3, 0]} ", f" {GOOD[3, 0] + 1} ", 1),
    # comments
    in_header("age in words", "Age: 74", "Age: old"),
    in_header("age below 0", "Age: 74", "Age: -1"),
    in_header("age NaN", "Age: 74", "Age: NaN"),
    in_header("age of 10^300", "Age: 74", "Age: 1e300"),
    in_header("sex in other words", "Sex: Male", "Sex: Mole"),
    in_header("two ages", "#Sex", "#Age: 75\n#Sex"),
    in_header("diagnosis in words", "59118001", "RBBB, <b>worse</b>"),
    in_header("comment without its sign", "#Age", "Age"),
    in_header("no comments", "#Age: 74\n#Sex: Male\n#Dx: 59118001\n", ""),
    # text
    in_header("line ends of Windows", "\n", "\r\n"),
    Kind("byte-order mark", b"\xef\xbb\xbf" + TEXT.encode(), MATRIX),
    Kind("Latin-1 bytes in a comment", TEXT.encode() + b"#Name: M\xfcller\n", MATRIX),
    Kind("zero bytes in the header", TEXT.replace("Male", "Ma\0le"), MATRIX),
    # the matrix
    matrix("matrix stored as (samples, leads)", v4_matrix(GOOD.T)),
    matrix("matrix of another name", v4_matrix(GOOD, "ecg")),
    matrix("two matrices, neither called val", v4_matrix(GOOD, "a") + v4_matrix(GOOD, "b")),
    matrix("structure with sex, age and data", saved(ECG={"sex": "Male", "age": 74, "data": GOOD})),
    matrix("structure without a matrix of twelve leads", saved(ECG={"sex": "Male", "data": GOOD[:3]})),
    Kind("matrix of unsigned numbers in format 80", header_text("X0001", GOOD // 32).replace("16+24", "80+24"),
         saved(val=(GOOD // 32 + 128).astype("u1"))),
    matrix("matrix of eleven leads", v4_matrix(GOOD[:11])),
    matrix("matrix of three dimensions", saved(val=GOOD.reshape(12, 20, 30))),
    matrix("matrix of text", saved(val="ECG")),
    matrix("matrix of complex numbers", saved(val=GOOD + 1j)),
    matrix("matrix that declares 10^9 samples", struct.pack("<5i", 30, 12, 10**9, 0, 4) + MATRIX[20:]),
    matrix("matrix of less than no samples", struct.pack("<5i", 30, 12, -600, 0, 4) + MATRIX[20:]),
    matrix("no samples", v4_matrix(GOOD[:, :0])),
    matrix("one sample", v4_matrix(GOOD[:, :1])),
    in_signal("two samples", GOOD[:, :2]),
    in_signal("a recording of 60 s", np.tile(GOOD, 50)),
    matrix("a byte of the signal changed", MATRIX[:-1] + bytes([MATRIX[-1] ^ 1])),
    # samples
    in_signal("zeros in every lead", changed(slice(None), slice(None), 0)),
    in_signal("flat in every lead, at other values than 0", np.repeat(GOOD[:, :1], 600, axis=1)),
    in_signal("zeros in every lead after 1 s", changed(slice(None), slice(500, None), 0)),
    in_signal("NaN in every lead for the first half", changed(slice(None), HALF, NOT_A_NUMBER, float)),
    in_signal("V2 flat at 0", changed(7, slice(None), 0)),
    in_signal("V2 flat at -16000", changed(7, slice(None), -16000)),
    in_signal("aVF flat", changed(5, slice(None), 3)),
    in_signal("II flat", changed(1, slice(None), 3)),
    in_signal("III, aVR, aVL and aVF flat", LIMB),
    in_signal("NaN throughout", changed(slice(None), slice(None), NOT_A_NUMBER, float)),
    in_signal("V2 NaN throughout", changed(7, slice(None), NOT_A_NUMBER, float)),
    in_signal("half of V2 NaN", changed(7, HALF, NOT_A_NUMBER, float)),
    in_signal("infinite samples", changed(7, HALF, np.inf, float)),
    in_signal("values of 10^30", changed(7, HALF, 1e30, float)),
    in_signal("values of 10^300", changed(7, HALF, 1e300, float)),
    in_signal("values between counts", GOOD + 0.25),
    in_signal("V2 saturated for five sixths of its samples", changed(7, slice(100, None), 32767)),
    in_signal("V1 to V3 saturated for a sixth of their samples", steps_to_the_end()),
    in_signal("half of V2 WFDB's number for no value", changed(7, HALF, -32768)),
    in_signal("V2 WFDB's number for no value throughout", changed(7, slice(None), -32768)),
    in_signal("WFDB's number for no value throughout", changed(slice(None), slice(None), -32768)),
    # other WFDB files
    Kind("WFDB file in format 16", WFDB, None, {".dat": GOOD.astype("<i2").tobytes("F")}),
    Kind("WFDB file missing", WFDB, None),
    Kind("WFDB file cut off", WFDB, None, {".dat": GOOD.astype("<i2").tobytes("F")[:9000]}),
    Kind("WFDB file of unknown format", WFDB.replace(".dat 16", ".dat 99"), None, {".dat": bytes(20000)}),
    Kind("WFDB file of noise in FLAC's place", WFDB.replace(".dat 16", ".dat 516"), None, {".dat": bytes(20000)}),
    Kind("WFDB files of another name", WFDB.replace("X0001", "X1"), None, {".dat": GOOD.astype("<i2").tobytes("F")}),
    Kind("WFDB record of segments that do not exist", "X0001/2 12 500 600\nX0001_1 300\nX0001_2 300\n", None),
    Kind("WFDB record of variable layout", "X0001/2 12 500 600\nX0001_1 0\nX0001_2 600\n", None),
    Kind("WFDB leads of different frequencies", WFDB.replace(".dat 16 ", ".dat 16x2 ", 6).replace("500 600", "500 400"),
         None, {".dat": GOOD.astype("<i2").tobytes("F")}),
)  # fmt: skip


def write_kinds(folder: Path) -> dict[str, Kind]:
    """Write all kinds and return them by the names of their recordings."""
    names = [kind.name or f"X{1000 + index}" for index, kind in enumerate(KINDS)]
    for kind, name in zip(KINDS, names, strict=True):
        kind.write(folder, name)
    return dict(zip(names, KINDS, strict=True))


# --- Outcomes


def outcome(scored: Prediction) -> str:
    """Return the outcome of a recording in the words of the table."""
    if scored.reason is not None:
        return f"prior: {scored.reason}"
    return "used" + (f", {', '.join(f'`{name}`' for name in dict.fromkeys(scored.repairs))}" if scored.repairs else "")


def outcomes(model: Model, folder: Path) -> dict[str, str]:
    """Return the outcome of each recording of a folder, by name."""
    records = find_records(folder)
    scored = score_files(model, [Path(f"{record}.hea") for record in records], batch=8)
    return {record.name: outcome(answer) for record, answer in zip(records, scored, strict=True)}


# --- Every reason, from the source of the program

SOURCES = (header, matlab, recording, segments, signal_files, leads_module, preprocessing, scoring)


def reasons() -> dict[str, list[str]]:
    """Return all reasons for refusing a recording by source file, with "..." for the varying parts."""
    found: dict[str, list[str]] = {}
    for module in SOURCES:
        path = Path(str(module.__file__))
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        raised = [call for call in calls if getattr(call.func, "id", "") in ("UnreadableError", "RecordingError")]
        texts = [text for call in raised for text in _texts(call.args[-1], module)]
        found[path.name] = list(dict.fromkeys(texts))
    return found


def _texts(node: ast.expr, module: Any) -> Iterator[str]:
    """Yield the possible texts of an expression; none if it passes on the text of another exception."""
    if isinstance(node, ast.Constant):
        yield str(node.value)
    elif isinstance(node, ast.JoinedStr):
        yield "".join(next(_texts(part, module)) for part in node.values)
    elif isinstance(node, ast.FormattedValue):
        named = isinstance(node.value, ast.Name) and node.value.id.isupper()
        value = getattr(module, node.value.id) if named else None
        yield value if isinstance(value, str) else "..."
    elif isinstance(node, ast.IfExp):
        yield from _texts(node.body, module)
        yield from _texts(node.orelse, module)
    elif isinstance(node, ast.Name) and node.id.isupper():
        yield str(getattr(module, node.id))


# --- The document


def tables(model: Model) -> dict[str, str]:
    """Return the text between the marks of docs/file-formats.md, by mark."""
    with tempfile.TemporaryDirectory() as folder:
        kinds = write_kinds(Path(folder))
        found = outcomes(model, Path(folder))
    rows = [f"| {_cell(kind.title)} | {_cell(found[name])} |" for name, kind in kinds.items()]
    return {
        "repairs": _list({**repairs.REPAIRS, **leads_module.SIGNAL_REPAIRS}),
        "format-repairs": _list(FORMAT_REPAIRS),
        "warnings": _list(quality.QUALITY_WARNINGS),
        "reasons": "\n\n".join(
            f"`{name}`\n\n" + "\n".join(f"- {_cell(text)}" for text in texts) for name, texts in reasons().items()
        ),
        "kinds": "\n".join(["| input | outcome |", "|---|---|", *rows]),
    }


def _list(meanings: Mapping[str, str]) -> str:
    rows = [f"| `{name}` | {_cell(meaning)} |" for name, meaning in meanings.items()]
    return "\n".join(["| name | meaning |", "|---|---|", *rows])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def filled(document: str, contents: Mapping[str, str]) -> str:
    """Return the document with new tables between its marks."""
    for name, content in contents.items():
        pattern = rf"(<!-- {name} -->\n).*?(\n<!-- end -->)"
        document, times = re.subn(pattern, lambda match: match[1] + content + match[2], document, flags=re.DOTALL)  # noqa: B023
        assert times == 1, name
    return document


def main() -> None:
    """Write the tables of docs/file-formats.md again."""
    from leadwise.model.ensemble import load_model
    from tests.model.models import write_model

    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder, "model"))
        contents = tables(load_model(Path(folder, "model")))
    DOCUMENT.write_text(filled(DOCUMENT.read_text(), contents))
    print(contents["kinds"])


if __name__ == "__main__":
    main()
