"""``python -m pyproc_worker`` is the command ``pyproc-worker``."""

import sys

from pyproc_worker.cli import main

if __name__ == "__main__":
    sys.exit(main())
