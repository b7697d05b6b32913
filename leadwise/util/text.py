"""Text of files, made safe for lines and table cells."""

from __future__ import annotations


def no_formula(text: str) -> str:
    """Text for a cell of a CSV file: with an apostrophe before what a spreadsheet would take for a formula, as a file's
    name may look (OWASP, CSV injection)."""
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@")) else text


def printable(text: str) -> str:
    """A file's name as it may stand in a line of text: what cannot be printed (line ends, bytes) becomes "?"."""
    return "".join(character if character.isprintable() else "?" for character in text)
