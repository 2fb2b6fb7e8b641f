"""``dyninfer tutorials``."""

from __future__ import annotations

import argparse
import re
import runpy
import tempfile
from collections.abc import Sequence
from contextlib import chdir
from importlib import resources
from pathlib import Path

from dyninfer.cli.inputs import did_you_mean
from dyninfer.data.words import counted
from dyninfer.learning.files import check_target, label, write_file

SUMMARY = "list the tutorials, run one and keep its pictures, or copy them to read and change"
EXAMPLES = [
    "dyninfer tutorials list",
    "dyninfer tutorials run 01 --out pictures",
    "dyninfer tutorials copy all --out lessons",
]


def add_arguments(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "action", nargs="?", choices=["list", "run", "copy"], default="list", help="(default: list)"
    )
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help='number or name of a tutorial; "all" to copy all'
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="folder of the pictures or copies (default: this one, or tutorial_pictures)",
    )


def run(arguments: argparse.Namespace) -> None:
    """List the tutorials, run one, or copy them."""
    if arguments.action == "list":
        for path in _tutorials():
            print(f"{path.stem:<24} {_title(path)}")
        return
    if arguments.action == "copy":
        _copy(arguments.name, _folder(arguments.out or Path(".")))
        return
    path = _tutorial(arguments.name)
    folder = _folder(arguments.out or Path("tutorial_pictures"))
    n_pictures = _run(path, folder)
    print(f"{path.stem}: {counted(n_pictures, 'picture')} in {label(folder)}")


def _copy(name: str | None, folder: Path) -> None:
    """Copy one tutorial, or all; none where one would replace what the user may have changed."""
    paths = _tutorials() if name == "all" else [_tutorial(name)]
    for path in paths:
        target = check_target(folder / path.name)
        if target.exists():
            raise ValueError(f"{label(target)} exists; name another folder with --out")
    for path in paths:
        write_file(folder / path.name, path.read_bytes())
    print(f"{counted(len(paths), 'tutorial')} copied to {label(folder)}")


def _tutorials() -> list[Path]:
    """All tutorials in their order: those of the wheel, or of the clone that is installed."""
    package = Path(str(resources.files("dyninfer"))).resolve()
    installed = package / "_tutorials"
    folder = installed if installed.is_dir() else package.parent / "tutorials"
    return sorted(folder.glob("[0-9]*.py"))


def _tutorial(name: str | None) -> Path:
    """A tutorial by its number or name."""
    paths = {path.stem: path for path in _tutorials()}
    if name is None:
        raise ValueError(
            'name a tutorial by its number, such as 01; "dyninfer tutorials" lists all'
        )
    stem = Path(name).stem
    if stem in paths:
        return paths[stem]
    for known, path in paths.items():
        number = known.partition("_")[0]
        if stem.isdigit() and int(stem) == int(number):
            return path
    hint = did_you_mean(stem, paths)
    raise ValueError(f'there is no tutorial {name!r}; {hint}"dyninfer tutorials" lists all')


def _title(path: Path) -> str:
    """First heading of a tutorial."""
    heading = re.search(r"^# # (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return "" if heading is None else heading[1]


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path.resolve()


def _run(path: Path, folder: Path) -> int:
    """Run a tutorial and keep its pictures; return how many there are."""
    import matplotlib

    # Pictures are files here, and no windows, which would wait to be closed.
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    # What a tutorial saves on its way is not the user's.
    with tempfile.TemporaryDirectory() as place, chdir(place):
        runpy.run_path(str(path), run_name="__main__")
    numbers = plt.get_fignums()
    for number in numbers:
        plt.figure(number).savefig(folder / f"{path.stem}_{number}.png", bbox_inches="tight")
    plt.close("all")
    return len(numbers)
