"""Rewrite the report and the model card of a model folder: python -m leadwise.report MODEL [DATA]."""

from __future__ import annotations

import sys
from pathlib import Path

from leadwise.model.folder import ModelError
from leadwise.report.training_page import write_pages
from leadwise.util.text import escape_unprintable_output


def main(arguments: list[str]) -> int:
    """Run the command and return its exit status."""
    escape_unprintable_output()
    if len(arguments) not in (1, 2) or arguments[0].startswith("-"):
        print("usage: python -m leadwise.report MODEL [DATA]", file=sys.stderr)
        return 2
    try:
        write_pages(Path(arguments[0]), arguments[1] if len(arguments) == 2 else None)
    except (ModelError, ValueError, OSError) as error:
        print(f"leadwise.report: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("leadwise.report: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
