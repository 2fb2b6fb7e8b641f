"""The code stays easy to read: figures that are kept, measured on the syntax tree.

The limits come from reading the field's best packages side by side (diffrax, deeptime, sbi, zuko,
ott, optax: 6 to 9 syntax nodes a line, 13 to 17 a statement, 2 to 14 conditional expressions per
thousand lines). No figure is an aim of its own: where a test fails, look at what it names.
"""

import ast
import re
from pathlib import Path

import pytest

import dyninfer

PACKAGE = Path(dyninfer.__file__).parent
# Names which say that something was done, and not what it is.
_WORDS = """
found seen held kept given spent told asked known wanted shown drawn taken made done
begun moved measured listed named said chosen meant learned allowed thrown put got gone
"""
PARTICIPLES = frozenset(_WORDS.split())
MOST_PARAMETERS = 7
STATEMENTS = (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Return, ast.Expr, ast.Raise)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def sources():
    """Every file of the package with its text and its tree."""
    for file in sorted(PACKAGE.rglob("*.py")):
        if "_data" not in file.parts:
            text = file.read_text()
            yield file.relative_to(PACKAGE).as_posix(), text, ast.parse(text)


def docstring_lines(tree):
    lines = set()
    for node in ast.walk(tree):
        holder = isinstance(node, (ast.Module, ast.ClassDef, *FUNCTIONS))
        if holder and ast.get_docstring(node, clean=False) is not None:
            lines |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return lines


def code_lines(text, tree):
    """Numbers of the lines that hold code: no blanks, no comments, no docstrings."""
    documentation = docstring_lines(tree)
    lines = enumerate(text.splitlines(), 1)
    return [
        number
        for number, line in lines
        if line.strip() and not line.strip().startswith("#") and number not in documentation
    ]


def size(node):
    return sum(1 for _ in ast.walk(node))


def statements(tree):
    """Simple statements inside functions, docstrings left out."""
    for function in (node for node in ast.walk(tree) if isinstance(node, FUNCTIONS)):
        for node in ast.walk(function):
            is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            if isinstance(node, STATEMENTS) and not is_text:
                yield node


def is_stored(node):
    """The name of a variable or a parameter, or None."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return node.id
    return node.arg if isinstance(node, ast.arg) else None


@pytest.fixture(scope="module")
def figures():
    n_code = n_nodes = n_branches = n_comments = 0
    sizes = []
    for _, text, tree in sources():
        n_code += len(code_lines(text, tree))
        n_nodes += size(tree)
        n_branches += sum(isinstance(node, ast.IfExp) for node in ast.walk(tree))
        n_comments += len(re.findall(r"#(?!\s*(?:type:|noqa|fmt:|pragma))", text))
        sizes += [size(node) for node in statements(tree)]
    return {
        "nodes per line": n_nodes / n_code,
        "nodes per statement": sum(sizes) / len(sizes),
        "conditional expressions per 1,000 lines": 1000 * n_branches / n_code,
        "comments per 100 lines": 100 * n_comments / n_code,
    }


@pytest.mark.parametrize(
    ("figure", "limit"),
    [
        ("nodes per line", 9.0),
        ("nodes per statement", 15.0),
        ("conditional expressions per 1,000 lines", 12.0),
    ],
)
def test_a_line_holds_one_thought(figures, figure, limit):
    assert figures[figure] <= limit


def test_comments_say_why(figures):
    assert figures["comments per 100 lines"] >= 5.0


def test_names_say_what_a_thing_is():
    vague = [
        f"{file}:{node.lineno} {is_stored(node)}"
        for file, _, tree in sources()
        for node in ast.walk(tree)
        if is_stored(node) in PARTICIPLES
    ]
    n_code = sum(len(code_lines(text, tree)) for _, text, tree in sources())
    assert len(vague) <= n_code / 1000, "\n".join(vague)


def exported_names():
    """Names that a user may write: of the package, and of every folder's ``__all__``."""
    names = set(dyninfer.__all__)
    for file, _, tree in sources():
        if not file.endswith("__init__.py"):
            continue
        for node in tree.body:
            is_all = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
            if is_all and isinstance(node.value, ast.List):
                elements = node.value.elts
                names |= {e.value for e in elements if isinstance(e, ast.Constant)}
    return names


def parameters(function):
    every = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
    return [a.arg for a in every if a.arg not in ("self", "cls")]


def inner_functions(tree, exported):
    """Functions and methods that no user calls."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for method in (m for m in node.body if isinstance(m, FUNCTIONS)):
                is_door = method.name == "__init__" or not method.name.startswith("_")
                if not (node.name in exported and is_door):
                    yield method
        if isinstance(node, ast.Module):
            functions = [f for f in node.body if isinstance(f, FUNCTIONS)]
            yield from (f for f in functions if f.name not in exported)


def test_only_public_doors_have_more_than_seven_parameters():
    exported = exported_names()
    long = [
        f"{file}:{function.lineno} {function.name} has {len(parameters(function))}"
        for file, _, tree in sources()
        for function in inner_functions(tree, exported)
        if len(parameters(function)) > MOST_PARAMETERS
    ]
    assert not long, "\n".join(long)


def test_the_house_has_at_most_sixteen_rooms():
    rooms = {Path(file).parts[0].removesuffix(".py") for file, _, _ in sources()}
    assert len(rooms - {"__init__", "__main__"}) <= 16


def test_every_room_opens_with_what_belongs_there_and_what_does_not():
    for folder in sorted(p for p in PACKAGE.iterdir() if (p / "__init__.py").is_file()):
        text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
        # A summary line, and a paragraph on what belongs elsewhere.
        assert len(text.split("\n\n")) >= 2, f"{folder.name}/__init__.py says too little: {text!r}"
