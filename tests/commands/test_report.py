"""`leadwise report` and python -m leadwise.report write the pages of a model folder anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from leadwise import cli
from leadwise.report import training_page


@pytest.mark.parametrize("data", [[], ["ecgs"]])
def test_it_passes_the_folders_to_the_pages(data: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[object, ...]] = []
    monkeypatch.setattr(training_page, "write_pages", lambda *arguments: calls.append(arguments))
    assert cli.main(["report", "model", *data]) == 0
    assert calls == [(Path("model"), data[0] if data else None)]


def test_a_folder_without_a_model_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"leadwise report: {tmp_path / 'model.json'}: No such file or directory\n"
