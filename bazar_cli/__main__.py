"""`python -m bazar_cli`."""

import sys

from bazar_cli.main import main

if __name__ == "__main__":
    sys.exit(main())
