"""Imitate the organisers' driver.py of 2020: driver.py MODEL DATA OUTPUT. Written from the contract alone.

Like theirs it catches no exception: a recording that raises ends the run.
"""

import sys
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from run_12ECG_classifier import load_12ECG_model, run_12ECG_classifier


def write(path: Path, name: str, classes: list[str], labels: list[int], scores: list[float]) -> None:
    """Write the four lines of an output; fail for values that are not strings, ints or floats."""
    lines = [f"#{name}", ",".join(classes), ",".join(f"{label:d}" for label in labels), ",".join(map(repr, scores))]
    path.write_text("\n".join(lines) + "\n")


def main(model_folder: str, data_folder: str, output_folder: str) -> None:
    """Load once, then score the recordings in the order of the folder."""
    Path(output_folder).mkdir(exist_ok=True)
    files = [file for file in Path(data_folder).iterdir() if file.name.lower().endswith("mat") and file.name[0] != "."]
    model = load_12ECG_model(model_folder)
    for file in files:
        data = np.asarray(loadmat(file)["val"], dtype=np.float64)
        with file.with_suffix(".hea").open() as header:
            header_data = header.readlines()
        labels, scores, classes = run_12ECG_classifier(data, header_data, model)
        write(Path(output_folder, file.stem + ".csv"), file.stem, classes, labels, scores)


if __name__ == "__main__":
    main(*sys.argv[1:])
