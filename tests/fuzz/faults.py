"""Small faults in a source file: another operator, number or name, or a statement left out."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

# The first of two is the boundary of the same comparison, which only equal numbers tell.
COMPARISONS = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
OPERATORS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
PAIRS = (
    ("min", "max"),
    ("minimum", "maximum"),
    ("amin", "amax"),
    ("argmin", "argmax"),
    ("any", "all"),
    ("floor", "ceil"),
    ("zeros", "ones"),
    ("zeros_like", "ones_like"),
    ("first", "last"),
)
NAMES = dict(PAIRS) | {second: first for first, second in PAIRS}
# What they hold or return are words, of which tests ask little.
WORDS = ("warn", "__repr__", "__str__")


@dataclass(frozen=True)
class Fault:
    """The change of one node, in the order of ``ast.walk``, to one of the others it may be."""

    file: Path
    number: int
    variant: int
    line: int
    function: int  # first line of the function that holds it
    before: str
    after: str


def faults(file: Path) -> list[Fault]:
    """Every fault in the functions of a file."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    owners = dict(_owners(tree))
    found = []
    for number, node in enumerate(ast.walk(tree)):
        if node not in owners:
            continue
        for variant, other in enumerate(changes(node)):
            ast.fix_missing_locations(other)
            place = (number, variant, node.lineno, owners[node])
            found.append(Fault(file, *place, _text(node), _text(other)))
    return found


def with_fault(fault: Fault) -> CodeType:
    """The file as it compiles with the fault in it."""
    tree = ast.parse(fault.file.read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree))
    node = nodes[fault.number]
    other = changes(node)[fault.variant]
    ast.copy_location(other, node)
    tree = _Exchange(node, other).visit(tree)
    ast.fix_missing_locations(tree)
    return compile(tree, str(fault.file), "exec", dont_inherit=True)


def changes(node: ast.AST) -> list[ast.AST]:
    """What a node may be changed to."""
    match node:
        case ast.Compare():
            return list(_comparisons(node))
        case ast.BinOp(left, operator, right) if type(operator) in OPERATORS:
            is_text = any(isinstance(side, ast.JoinedStr | ast.List) for side in (left, right))
            other = OPERATORS[type(operator)]()
            return [] if is_text else [ast.BinOp(left, other, right)]
        case ast.BoolOp(ast.And(), values):
            return [ast.BoolOp(ast.Or(), values)]
        case ast.BoolOp(ast.Or(), values):
            return [ast.BoolOp(ast.And(), values)]
        case ast.UnaryOp(_, operand):
            return [operand]
        case ast.Constant(bool(value)):
            return [ast.Constant(not value)]
        case ast.Constant(int(value)):
            return [ast.Constant(value + 1), ast.Constant(value - 1)]
        case ast.Constant(float(value)):
            return [ast.Constant(2 * value or 1.0)]
        case ast.If(ast.Name() | ast.Attribute() | ast.Call() as test, body, rest):
            return [ast.If(ast.UnaryOp(ast.Not(), test), body, rest)]
        case ast.Raise() | ast.Expr(ast.Call()):
            return [ast.Pass()]
        case ast.Call(ast.Name(name), arguments, keywords) if name in NAMES:
            return [ast.Call(ast.Name(NAMES[name], ast.Load()), arguments, keywords)]
        case ast.Call(ast.Attribute(owner, name), arguments, keywords) if name in NAMES:
            other = ast.Attribute(owner, NAMES[name], ast.Load())
            return [ast.Call(other, arguments, keywords)]
        case ast.Return(ast.Call(_, [argument], [])):
            return [ast.Return(argument)]
    return []


def _comparisons(node: ast.Compare) -> Iterator[ast.Compare]:
    for place, operator in enumerate(node.ops):
        for other in COMPARISONS[type(operator)]:
            operators = list(node.ops)
            operators[place] = other()
            yield ast.Compare(node.left, operators, node.comparators)


def _owners(tree: ast.AST) -> Iterator[tuple[ast.AST, int]]:
    """Nodes of all bodies of functions but their words, with the first line of the function."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and function.name not in WORDS:
            decorators = [decorator.lineno for decorator in function.decorator_list]
            # As Python counts: a decorator is part of the function.
            first = min([function.lineno, *decorators])
            for statement in function.body:
                for node in _without_words(statement):
                    yield node, first


def _without_words(node: ast.AST) -> Iterator[ast.AST]:
    """The node and those below it, but messages, annotations and functions inside."""
    yield node
    if isinstance(node, ast.Raise | ast.JoinedStr | ast.FunctionDef | ast.ClassDef):
        return
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in WORDS:
        return
    for name, value in ast.iter_fields(node):
        children = value if isinstance(value, list) else [value]
        for child in children:
            if isinstance(child, ast.AST) and name != "annotation":
                yield from _without_words(child)


def _text(node: ast.AST) -> str:
    """First line of the code of a node, for the report."""
    return ast.unparse(node).partition("\n")[0]


class _Exchange(ast.NodeTransformer):
    """Puts another node in the place of one."""

    def __init__(self, node: ast.AST, other: ast.AST):
        self.node = node
        self.other = other

    def visit(self, node: ast.AST) -> ast.AST:
        if node is self.node:
            return self.other
        return self.generic_visit(node)
