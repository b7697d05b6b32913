"""Run the `leadwise` command: python -m leadwise."""

import sys

from leadwise.cli import main

if __name__ == "__main__":
    sys.exit(main())
