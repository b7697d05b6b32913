"""Imitate the organisers' test_model.py of 2021: test_model.py MODEL DATA OUTPUT. Written from the contract.

Theirs turns an exception of run_model into an empty output; this one raises it, so that the test sees it.
"""

import sys
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from team_code import load_model, run_model

STANDARD = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")


def lead_set(header: str) -> tuple[str, ...]:
    """Return the leads of a header's signal lines, in standard order."""
    lines = [line for line in header.splitlines() if not line.startswith("#")]
    leads = [line.split()[-1] for line in lines[1 : 1 + int(lines[0].split()[1])]]
    return tuple(sorted(leads, key=STANDARD.index))


def write(path: Path, name: str, classes: list[str], labels: list[int], probabilities: list[float]) -> None:
    """Write the four lines of an output."""
    rows = [classes, [int(label) for label in labels], [float(probability) for probability in probabilities]]
    path.write_text("\n".join([f"#{name}", *(",".join(map(str, row)) for row in rows)]) + "\n")


def main(model_folder: str, data_folder: str, output_folder: str) -> None:
    """Load the model once for each lead set, then score the recordings."""
    Path(output_folder).mkdir(exist_ok=True)
    headers = {path: path.read_text() for path in sorted(Path(data_folder).glob("*.hea"))}
    models = {leads: load_model(model_folder, leads) for leads in sorted({lead_set(text) for text in headers.values()})}
    for path, header in headers.items():
        recording = np.asarray(loadmat(path.with_suffix(".mat"))["val"])
        classes, labels, probabilities = run_model(models[lead_set(header)], header, recording)
        write(Path(output_folder, path.stem + ".csv"), path.stem, classes, labels, probabilities)
    print(f"{len(headers)} recordings, {len(models)} lead sets")


if __name__ == "__main__":
    main(*sys.argv[1:])
