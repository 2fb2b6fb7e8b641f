"""One file a command: its ``SUMMARY``, ``EXAMPLES``, ``add_arguments`` and ``run``.

A new command is a new file and a line below. What several commands need stands in the room above.
"""

from __future__ import annotations

from types import ModuleType

from dyninfer.cli.commands import (
    compare,
    datasets,
    demo,
    doctor,
    evaluate,
    fates,
    fit,
    info,
    report,
    simulate,
    tune,
    tutorials,
)

# In the order of ``dyninfer --help``, which is that of first use.
COMMANDS: dict[str, ModuleType] = {
    "demo": demo,
    "doctor": doctor,
    "fit": fit,
    "simulate": simulate,
    "evaluate": evaluate,
    "report": report,
    "compare": compare,
    "tune": tune,
    "fates": fates,
    "datasets": datasets,
    "tutorials": tutorials,
    "info": info,
}
