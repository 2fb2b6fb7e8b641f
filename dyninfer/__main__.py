"""``python -m dyninfer`` is ``dyninfer``."""

import sys

from dyninfer.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
