"""Make text from files safe for lines and table cells."""


def no_formula(text: str) -> str:
    """Return text for a CSV cell, with an apostrophe before a spreadsheet formula (OWASP, CSV injection)."""
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@")) else text


def printable(text: str) -> str:
    """Return text with "?" for each character that cannot be printed in a line, such as line ends and stray bytes."""
    return "".join(character if character.isprintable() else "?" for character in text)
