"""Tests of reading one file: every format, every kind of damage, no library, no unbounded time or memory."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leadwise.ecg.acquisition import measure_acquisition
from leadwise.ecg.formats import FORMAT_REPAIRS, read_other_format
from leadwise.ecg.recording import Recording
from leadwise.ecg.repairs import REPAIRS, RecordingError
from tests.conftest import LEADS
from tests.ecg.formats import files
from tests.ecg.recordings import mutated

ROOT = Path(__file__).resolve().parents[3]
Read = Callable[..., Recording]
EIGHT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
PERSONS = {
    "HL7 aECG": (59, "female"),
    "GE MUSE XML": (71, "male"),
    "Philips XML": (50, "male"),
    "DICOM": (63, "female"),
    "EDF": (59, "female"),
    "SCP-ECG": (59, "male"),
    "ISHNE": (59, "female"),
    "MFER": (71, "male"),
}


def needs_library(name: str) -> None:
    if name in files.BY_LIBRARY:
        pytest.importorskip("ecgdatakit")
        pytest.importorskip("pydicom")


@pytest.mark.parametrize("name", files.EXAMPLES)
def test_every_format_keeps_the_counts_of_the_file(name: str, read: Read) -> None:
    needs_library(name)
    write, step = files.EXAMPLES[name]
    recording = read(write(), 500)
    rows = [LEADS.index(lead) for lead in recording.lead_names]
    assert recording.lead_names == (EIGHT if name == "GE MUSE XML" else LEADS)
    assert recording.counts.dtype == np.int16 and not recording.counts.flags.writeable
    assert np.array_equal(recording.counts, files.COUNTS[rows])
    assert np.allclose(1000 / recording.adc_gain, step) and not recording.baseline.any()
    assert recording.sampling_frequency == 500 and recording.header.samples == 600
    assert (recording.header.age, recording.header.sex) == PERSONS.get(name, (None, None))
    assert measure_acquisition(recording) == pytest.approx([500, step, 1.2])
    assert {repair.name for repair in recording.repairs} <= {"unit-assumed", "leads-assumed"}
    assert recording.name == "ecg"


@pytest.mark.parametrize("name", files.EXAMPLES)
def test_a_file_that_is_cut_off_is_refused_or_used_as_far_as_it_goes(name: str, read: Read) -> None:
    needs_library(name)
    raw = files.EXAMPLES[name][0]()
    for share in (0.02, 0.3, 0.6, 0.99):
        try:
            recording = read(raw[: int(share * len(raw))], 500)
        except RecordingError as error:
            assert "ecg.bin" in str(error) and "\n" not in str(error)
        else:
            assert recording.counts.shape[1] < 600 and name in ("EDF", "ISHNE", "CSV")


@pytest.mark.parametrize("name", files.EXAMPLES)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(st.tuples(st.floats(0, 1), st.sampled_from("rid"), st.binary(min_size=1, max_size=6)), max_size=8)
)
def test_changed_bytes_raise_nothing_but_the_error_of_recordings(
    name: str, edits: list[tuple[float, str, bytes]], read: Read
) -> None:
    needs_library(name)
    small = {
        "HL7 aECG": lambda: files.aecg(files.SMALL),
        "GE MUSE XML": lambda: files.muse(files.SMALL),
        "Philips XML": lambda: files.philips(
            files.SMALL, files.xli(files.SMALL), compressflag="True", compression="XLI"
        ),
        "DICOM": lambda: files.dicom([{"counts": files.SMALL, "padding": -32768}]),
        "EDF": lambda: files.edf(
            [(lead, row, 20, "uV") for lead, row in zip(LEADS, files.SMALL, strict=True)], (0, 0.2)
        ),
        "SCP-ECG": lambda: files.scp(files.SMALL),
        "ISHNE": lambda: files.ishne(files.SMALL),
        "MFER": lambda: files.mfer(files.SMALL),
        "CSV": lambda: files.table(files.SMALL),
        "NumPy array": lambda: files.npy(files.SMALL),
        "NumPy archive": lambda: files.npz(signal=files.SMALL, leads=np.array(LEADS), fs=500),
    }[name]()
    try:
        recording = read(mutated(small, edits), 500)
    except RecordingError as error:
        assert "ecg.bin" in error.source and error.reason and "\n" not in error.reason
    else:
        assert recording.counts.ndim == 2 and recording.counts.size
        assert {repair.name for repair in recording.repairs} <= {*REPAIRS, *FORMAT_REPAIRS}


@given(raw=st.binary(max_size=600))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_bytes_are_refused(raw: bytes, read: Read) -> None:
    with pytest.raises(RecordingError):
        read(raw)


def test_what_is_no_file_of_a_known_format_is_refused_in_plain_words(tmp_path: Path, read: Read) -> None:
    with pytest.raises(RecordingError, match="is empty"):
        read(b"")
    with pytest.raises(RecordingError, match="is in no format that is read"):
        read(b"Dear colleague,\nhere is the ECG")
    with pytest.raises(RecordingError, match=r"missing\.xml: cannot be read: No such file"):
        read_other_format(tmp_path / "missing.xml")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, "/dev/zero"):
        with pytest.raises(RecordingError, match="is not a regular file"):
            read_other_format(path)


def test_a_file_beyond_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    for name, head in (("scp", files.scp()), ("xml", files.aecg()), ("dcm", b"\0" * 128 + b"DICM")):
        path = tmp_path / name
        path.write_bytes(head)
        os.truncate(path, 1 << 31)
        with pytest.raises(RecordingError, match="bytes; at most"):
            read_other_format(path)


@pytest.mark.parametrize("name", ["HL7 aECG", "DICOM"])
def test_without_the_extra_the_error_says_what_to_install(name: str, tmp_path: Path) -> None:
    needs_library(name)
    path = tmp_path / "ecg.bin"
    path.write_bytes(files.EXAMPLES[name][0]())
    program = (
        "import sys; sys.modules[sys.argv[2]] = None\n"
        "from leadwise.ecg.formats import read_other_format\n"
        "try: read_other_format(sys.argv[1])\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    for module in {"HL7 aECG": ["ecgdatakit"], "DICOM": ["ecgdatakit", "pydicom"]}[name]:
        command = [sys.executable, "-c", program, str(path), module]
        shown = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        assert shown.strip() == f'RecordingError {path}: is a {name} file, which needs: pip install "leadwise[formats]"'


def test_tables_and_arrays_need_no_extra(tmp_path: Path) -> None:
    for name, raw in (("a.csv", files.table()), ("b.npy", files.npy()), ("c.npz", files.npz(signal=files.COUNTS))):
        (tmp_path / name).write_bytes(raw)
    program = (
        "import sys; sys.modules['ecgdatakit'] = sys.modules['pydicom'] = None\n"
        "from leadwise.ecg.formats import read_other_format\n"
        "print(*[read_other_format(path, 500).counts.shape for path in sys.argv[1:]])"
    )
    command = [sys.executable, "-c", program, *map(str, sorted(tmp_path.iterdir()))]
    shown = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert shown.split("\n")[0] == "(12, 600) (12, 600) (12, 600)"


def test_threads_do_not_mix_files_or_their_repairs(tmp_path: Path) -> None:
    pytest.importorskip("ecgdatakit")
    raws = (files.muse(unit=""), files.scp()[:-1] + b"\7", files.aecg(), files.table(time=None))
    paths = [tmp_path / str(number) for number in range(len(raws))]
    for path, raw in zip(paths, raws, strict=True):
        path.write_bytes(raw)
    alone = [read_other_format(path, 500) for path in paths]
    filters = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda path: read_other_format(path, 500), paths * 10))
    for one, other in zip(alone * 10, together, strict=True):
        assert (one.counts == other.counts).all() and one.repairs == other.repairs and one.header == other.header
    assert warnings.filters == filters


BOMBS: dict[str, Callable[[], bytes]] = {
    "entities": lambda: files.muse(before="<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;'>]>").replace(
        b'<!DOCTYPE RestingECG SYSTEM "restecg.dtd">', b""
    ),
    "entities in Philips XML": lambda: files.philips().replace(
        b"<restingecgdata>", b"<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><restingecgdata>&a;"
    ),
    "nested elements": lambda: b"<restingecgdata >" + b"<a>" * 60_000,
    "nested elements in aECG": lambda: b"<AnnotatedECG >" + b"<component>" * 60_000,
    "Philips compression": lambda: files.philips(data=lzw_bomb(), compressflag="True", compression="XLI"),
    "channels of MFER": lambda: files.mfer(np.tile(files.COUNTS, 400), channels=4_000_000),
    "nested MFER": lambda: files.mfer(before=nested(600)),
    "samples of SCP": lambda: files.scp(starts=(1,) * 11 + (90_000_000,)),
    "samples of NumPy": lambda: files.npy().replace(b"(12, 600), }   ", b"(12, 10**9), }".ljust(15)),
    "pickled NumPy": lambda: npy_of_objects(),
    "unpacked NumPy": lambda: declared_size(files.npz(signal=files.COUNTS), 0xF0000000),
    "channels of EDF": lambda: files.edf()[:252] + b"9999" + files.edf()[256:],
    "records of EDF": lambda: files.edf()[:236] + b"99999999" + files.edf()[244:],
    "samples of DICOM": lambda: files.dicom().replace((600).to_bytes(4, "little"), (2**31).to_bytes(4, "little")),
}


def lzw_bomb() -> str:
    import base64

    growing = [0, *range(256, 1022)]  # each string is the one before and a zero
    codes = files.lzw_codes([*growing, *([1021] * 400_000)])
    return base64.b64encode(len(codes).to_bytes(4, "little") + bytes(4) + codes).decode()


def nested(depth: int) -> bytes:
    inner = bytes(100_000)
    for _ in range(depth):
        inner = b"\x67\x84" + len(inner).to_bytes(4, "big") + inner
    return inner


def declared_size(archive: bytes, size: int) -> bytes:
    """Change the size that the directory of an archive declares for its first member."""
    place = archive.index(b"PK\x01\x02") + 24
    return archive[:place] + size.to_bytes(4, "little") + archive[place + 4 :]


def npy_of_objects() -> bytes:
    import io

    stream = io.BytesIO()
    np.save(stream, np.array([[print]]), allow_pickle=True)
    return stream.getvalue()


@pytest.mark.parametrize("bomb", BOMBS)
def test_no_file_takes_unbounded_memory(bomb: str, tmp_path: Path) -> None:
    """The program may have 1.5 GB of addresses, of which the libraries take about half."""
    pytest.importorskip("ecgdatakit")
    path = tmp_path / "bomb"
    path.write_bytes(BOMBS[bomb]())
    program = (
        "import sys\nfrom leadwise.ecg.formats import read_other_format\n"
        "try: print(read_other_format(sys.argv[1], 500).counts.shape)\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    command = [sys.executable, "-c", program, str(path)]
    limits = (1_500_000_000, 1_500_000_000)
    done = subprocess.run(
        command,
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limits),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("RecordingError") or bomb == "records of EDF", done.stdout
    assert "MemoryError" not in done.stdout and "Unable to allocate" not in done.stdout
