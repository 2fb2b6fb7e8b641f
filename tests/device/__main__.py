"""Print what steps cost on a GPU: ``PYTHONPATH=tests python -m device``."""

from device.table import main

main()
