"""Option tables: names, defaults, kinds of values, and what an option overrides."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadwise.options import (
    COMMANDS,
    FOLDER,
    HOURS,
    KNOWN_VARIABLES,
    SWITCH,
    DriverOptions,
    Kind,
    Option,
    Origin,
    TrainingOptions,
    choice,
    file,
    whole,
)


def test_a_field_is_a_flag_and_a_variable() -> None:
    option = next(option for option in DriverOptions.table() if option.name == "batch_size")
    assert (option.flag, option.variable, option.default) == ("--batch-size", "LEADWISE_BATCH_SIZE", "64")
    assert {option.variable for table in COMMANDS for option in table.table()} == set(KNOWN_VARIABLES)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (whole(1), "12", 12),
        (choice("cpu", "cuda"), "cuda", "cuda"),
        (file(".png", ".svg"), "Sheet.PNG", Path("Sheet.PNG")),
        (file(), "list", Path("list")),
        (FOLDER, "a/b", Path("a/b")),
        (HOURS, "1.5", 1.5),
        (SWITCH, "Yes", True),
        (SWITCH, "off", False),
    ],
)
def test_a_text_becomes_a_value(kind: Kind, text: str, value: object) -> None:
    assert kind.convert(text) == value


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (whole(1), "0", "a whole number of at least 1"),
        (whole(0), "1_000", "a whole number of at least 0"),
        (whole(0), " 7 ", "a whole number of at least 0"),
        (whole(0), "", "a whole number of at least 0"),
        (whole(0), "\u0663", "a whole number of at least 0"),
        (choice("cpu", "cuda"), "gpu", "one of cpu, cuda"),
        (file(".png", ".svg"), "sheet.gif", "the name of a file that ends in .png, .svg"),
        (file(".png"), "", "the name of a file that ends in .png"),
        (file(), "", "the name of a file"),
        (FOLDER, "", "the name of a folder"),
        (HOURS, "0", "a number of hours above 0"),
        (HOURS, "0.00", "a number of hours above 0"),
        (HOURS, "nan", "a number of hours above 0"),
        (HOURS, "1e3", "a number of hours above 0"),
        (HOURS, "-1", "a number of hours above 0"),
        (SWITCH, "", r"1 or 0 \(yes or no"),
        (SWITCH, "maybe", r"1 or 0 \(yes or no"),
    ],
)
def test_an_invalid_text_is_refused_with_what_is_expected(kind: Kind, text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=f"{re.escape(repr(text))} is not {expected}"):
        kind.convert(text)


@given(st.text(max_size=8), st.integers(-5, 10**9))
def test_a_whole_number_is_accepted_only_in_digits(text: str, number: int) -> None:
    for candidate in (text, str(number)):
        if candidate.isascii() and candidate.isdigit() and int(candidate) >= 1:
            assert whole(1).convert(candidate) == int(candidate)
        else:
            with pytest.raises(ValueError, match="a whole number"):
                whole(1).convert(candidate)


def test_a_table_can_be_constructed_without_a_command_line() -> None:
    options = TrainingOptions(epochs=3, origins={"epochs": Origin("--epochs")})
    assert options.overrides("recipe quick", {"epochs": 10}) == ["epochs: 3 (recipe quick has 10), from --epochs"]
    assert TrainingOptions(epochs=3).overrides("recipe quick", {"epochs": 10}) == []  # of no known origin


def test_options_of_one_name_are_the_same_in_all_commands() -> None:
    seen: dict[str, Option] = {}
    for one in (one for table in COMMANDS for one in table.table()):
        assert (seen.setdefault(one.name, one).default, seen[one.name].help) == (one.default, one.help)


def test_options_need_no_torch() -> None:
    code = (
        "import sys, leadwise.options; from leadwise.command_line import from_environment;"
        "from_environment(leadwise.options.TrainingOptions); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], check=False).returncode == 0
