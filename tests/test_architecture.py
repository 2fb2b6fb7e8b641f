"""The picture in docs/architecture.md and the code are held together here."""

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import dyninfer

PACKAGE = Path(dyninfer.__file__).parent
PICTURE = PACKAGE.parent / "docs" / "architecture.md"
MOST_LINES = 420


def picture():
    """Lines of the picture in the documentation, each a list of rooms, the highest first."""
    section = PICTURE.read_text().split("## Direction of imports")[1].split("\n## ")[0]
    drawn = [line for line in section.splitlines() if line.startswith("    ")]
    return [[name.strip() for name in line.split(",")] for line in drawn]


def layers():
    """Level of every room of the package, 0 at the top."""
    return {name: level for level, line in enumerate(picture()) for name in line}


def files():
    return [f for f in sorted(PACKAGE.rglob("*.py")) if "_data" not in f.parts]


def room(file):
    """First part of a file's path inside the package, without its ending."""
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


def is_type_checking(node):
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def imported_rooms(source):
    """Rooms of the package that a source imports at run time, at its top or inside a function."""
    found = set()
    public = {name: ".".join(place).split(".")[1] for name, place in dyninfer._PLACES.items()}

    def visit(node):
        if is_type_checking(node):
            for other in node.orelse:
                visit(other)
            return
        if isinstance(node, ast.Import):
            found.update(a.name.split(".")[1] for a in node.names if a.name.startswith("dyninfer."))
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute in this package"
            parts = (node.module or "").split(".")
            if parts[0] == "dyninfer":
                found.update(parts[1:2] or {public.get(a.name, a.name) for a in node.names})
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "dyninfer":
            found.add(public.get(node.attr, node.attr))
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(source))
    return found


def upward(file, source, order):
    """Imports of a file that do not go down."""
    home = room(file)
    return [
        f"{file.relative_to(PACKAGE)} imports {other}"
        for other in sorted(imported_rooms(source) - {home, "__version__"})
        if order.get(other, -1) <= order[home]
    ]


def test_every_room_is_in_the_picture_once():
    names = [name for line in picture() for name in line]
    assert len(names) == len(set(names)) > 10
    missing = {room(f) for f in files()} - set(names) - {"__init__", "__main__"}
    assert not missing, f"add {missing} to the order of imports in docs/architecture.md"


def test_imports_go_down():
    order = layers() | {"__init__": -1, "__main__": -1}
    found = [line for f in files() for line in upward(f, f.read_text(), order)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "planted",
    [
        "from dyninfer.estimators import ActionMatching",
        "from dyninfer import estimators",
        "from dyninfer import ActionMatching",
        "from dyninfer import pl",
        "import dyninfer\nprint(dyninfer.load('x'))",
        "import dyninfer.estimators.base as base",
        "def f():\n    from dyninfer.simulation import simulate",
        "from dyninfer.transport.curves import DensityCurve",
        "if TYPE_CHECKING:\n    pass\nelse:\n    from dyninfer import solvers",
    ],
)
def test_a_planted_upward_import_is_found(planted):
    order = layers()
    assert len(upward(PACKAGE / "data" / "snapshots.py", planted, order)) == 1
    assert len(upward(PACKAGE / "diffusions" / "diffusion.py", planted, order)) == 1


@pytest.mark.parametrize(
    "allowed",
    [
        "from dyninfer.data import keys",
        "import torch",
        "from dyninfer import __version__",
        "import dyninfer\nprint(dyninfer.__version__)",
        "if TYPE_CHECKING:\n    from dyninfer.estimators import Estimator",
    ],
)
def test_a_downward_import_is_not_found(allowed):
    assert not upward(PACKAGE / "data" / "snapshots.py", allowed, layers())


def test_importing_the_package_imports_nothing_slow():
    code = (
        "import sys, dyninfer; dir(dyninfer);"
        "print([m for m in ('torch', 'scanpy', 'anndata', 'ot', 'matplotlib', 'pandas', 'sklearn') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_no_slow_library_is_imported_before_it_is_needed():
    """Learning and simulating need torch; plots, optimal transport and scanpy wait until they are asked for."""
    code = (
        "import sys, dyninfer; dyninfer.ActionMatching, dyninfer.simulate, dyninfer.Snapshots;"
        "print([m for m in ('scanpy', 'ot', 'matplotlib', 'xarray') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("file", files(), ids=lambda f: str(f.relative_to(PACKAGE)))
def test_a_file_is_one_reading(file):
    lines = len(file.read_text().splitlines())
    assert lines <= MOST_LINES, f"{lines} lines; split it by idea"


@pytest.mark.parametrize("name", sorted(set(dyninfer.__all__) - {"__version__"}))
def test_every_public_name_is_there_and_documented(name):
    thing = getattr(dyninfer, name)
    assert inspect.getdoc(thing)
    assert name in dir(dyninfer)
    if inspect.ismodule(thing):
        for inner in getattr(thing, "__all__", ()):
            assert inspect.getdoc(getattr(thing, inner)), inner


def test_every_public_function_class_and_method_has_a_docstring():
    bare = []
    for file in files():
        module = ast.parse(file.read_text())
        holders = [
            module,
            *(n for n in module.body if isinstance(n, ast.ClassDef) and not n.name.startswith("_")),
        ]
        if not ast.get_docstring(module):
            bare.append(f"{file.name}: the module")
        for holder in holders:
            for node in holder.body:
                public = isinstance(
                    node, ast.FunctionDef | ast.ClassDef
                ) and not node.name.startswith("_")
                if public and not ast.get_docstring(node):
                    bare.append(f"{file.name}:{node.lineno} {node.name}")
    assert not bare, "\n".join(bare)


def test_type_checkers_see_every_public_name_where_it_is_defined():
    """The stub is the one list: what it imports is there, under the name that it exports."""
    for name, (module, name_there) in dyninfer._PLACES.items():
        public = getattr(dyninfer, name)
        assert public is getattr(importlib.import_module(module), name_there)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'dyninfer' has no attribute 'nonsense'"):
        _ = dyninfer.nonsense


def test_every_module_imports():
    for found in pkgutil.walk_packages(dyninfer.__path__, "dyninfer."):
        if not found.name.endswith("__main__") and "._data" not in found.name:
            importlib.import_module(found.name)
