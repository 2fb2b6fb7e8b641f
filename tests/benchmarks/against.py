"""Name the ratios of `make bench` that grew by more than a tenth since the stored ones.

    python tests/benchmarks/against.py build/bench            # compare
    python tests/benchmarks/against.py build/bench --keep     # store these ratios

Ratios are of our time over another's of the same run, so that they can be compared between machines; less is better.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

STORED = Path(__file__).with_name("baseline.json")
# Medians of interleaved rounds repeat within a few per cent; beyond a tenth something has changed.
TOLERANCE = 0.10


def measured(folder: Path) -> dict[str, float]:
    """All ratios that the scripts wrote into a folder."""
    ratios: dict[str, float] = {}
    for path in sorted(folder.glob("*.json")):
        ratios |= json.loads(path.read_text())
    return ratios


def compared(before: dict[str, float], now: dict[str, float]) -> tuple[list[str], list[str]]:
    """Lines of a table, and the names of what got slower."""
    lines = ["| ratio, less is better | stored | now | change |", "|---|---|---|---|"]
    slower = []
    for name, value in now.items():
        if name not in before:
            lines.append(f"| {name} |  | {value:.2f} | new |")
            continue
        change = value / before[name] - 1
        lines.append(f"| {name} | {before[name]:.2f} | {value:.2f} | {change:+.0%} |")
        if change > TOLERANCE:
            slower.append(name)
    gone = [name for name in before if name not in now]
    lines += [f"| {name} | {before[name]:.2f} |  | not measured |" for name in gone]
    return lines, slower


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--keep", action="store_true", help="store these ratios")
    options = parser.parse_args()
    now = measured(options.folder)
    if not now:
        parser.error(f"there are no ratios in {options.folder}: run make bench first")
    before = json.loads(STORED.read_text()) if STORED.exists() else {}
    lines, slower = compared(before, now)
    print("\n".join(lines))
    if options.keep:
        # More digits are those of one run.
        rounded = {name: round(value, 4) for name, value in now.items()}
        # What was left out here, as for want of a package, stays as it was.
        STORED.write_text(json.dumps(before | rounded, indent=1, ensure_ascii=False) + "\n")
    for name in slower:
        print(f"slower by more than {TOLERANCE:.0%}: {name}")
    if not slower:
        print(f"nothing got slower by more than {TOLERANCE:.0%}")


if __name__ == "__main__":
    main()
