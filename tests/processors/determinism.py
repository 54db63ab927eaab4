"""What would make a step depend on more than its input, found in the text of the code.

Each rule names what it forbids; `found` returns where a source breaks one. Sets are followed
through assignments, annotations and attributes of one module: what is iterated is judged, not what
is only looked up. Exceptions are listed with their reasons, by file, rule and line.
"""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

FORBIDDEN_MODULES = {
    "clock": {"time", "datetime", "sched", "zoneinfo"},
    "chance": {"random", "secrets", "uuid"},
    "environment": {"os", "platform", "locale", "getpass"},
    "threads": {"threading", "concurrent", "multiprocessing", "asyncio", "queue", "signal"},
    "input or output": {"io", "socket", "subprocess", "tempfile", "shutil", "urllib", "http"},
}
"""Rule to the modules that it forbids, by their first name."""
REDUCTIONS = {
    "sum", "nansum", "mean", "nanmean", "average", "dot", "vdot", "inner", "matmul", "einsum",
    "tensordot", "prod", "std", "var", "trace", "reduceat",
}  # fmt: skip
"""Of NumPy, in an order of its own (pairwise, by SIMD width, by BLAS threads)."""
TRANSCENDENTAL = {
    "log", "log2", "log10", "log1p", "exp", "exp2", "expm1", "pow", "power", "sin", "cos", "tan",
    "tanh", "sinh", "cosh", "arctan", "atan", "atan2", "erf", "erfc", "gamma", "lgamma", "cbrt",
}  # fmt: skip
"""Whose last digit is the C library's or the SIMD kernel's own."""
UNLISTED_FILES = {"glob", "rglob", "iterdir", "listdir", "scandir", "walk"}
HARMLESS = {"sorted", "len", "min", "max", "any", "all", "bool", "set", "frozenset", "isinstance"}
"""What may take a set: its result does not show in which order the set was walked."""


class Finding(NamedTuple):
    """A rule that is broken in a line of a file."""

    path: str
    rule: str
    text: str
    line: int

    @property
    def place(self) -> tuple[str, str, str]:
        """What an exception names: not the number of the line, which moves."""
        return self.path, self.rule, self.text


def found(source: str, path: str = "sample.py") -> list[Finding]:
    """Every place of a source that breaks a rule."""
    tree = ast.parse(source)
    lines = source.splitlines()
    sets = _sets(tree)
    broken = {(rule, node.lineno) for node in ast.walk(tree) for rule, node in _of(node, sets)}
    return [
        Finding(path, rule, lines[line - 1].strip(), line)
        for rule, line in sorted(broken, key=lambda one: one[::-1])
    ]


def in_tree(root: Path, folders: tuple[str, ...]) -> list[Finding]:
    """Every finding in the Python files of these folders, or in these files."""
    every: list[Finding] = []
    for folder in folders:
        place = root / folder
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            every += found(path.read_text(), path.relative_to(root).as_posix())
    return every


Broken = Iterator[tuple[str, ast.expr | ast.stmt]]


def _of(node: ast.AST, sets: set[str]) -> Broken:
    match node:
        case ast.Import() | ast.ImportFrom():
            yield from _import(node)
        case ast.Call():
            yield from _call(node, sets)
        case ast.For() | ast.ListComp() | ast.DictComp() | ast.GeneratorExp() | ast.Starred():
            if any(_is_set(walked, sets) for walked in _walked(node)):
                yield "order of a set", node
        case ast.BinOp(op=ast.MatMult()):
            yield "unordered reduction", node
        case ast.Attribute(attr="random", value=ast.Name(id="np" | "numpy")):
            yield "chance", node
        case ast.Attribute(attr="prange"):
            yield "parallel loop", node


def _walked(node: ast.AST) -> list[ast.expr]:
    """What is walked in an order that shows."""
    match node:
        case ast.For(iter=walked) | ast.Starred(value=walked):
            return [walked]
        case ast.ListComp() | ast.DictComp() | ast.GeneratorExp():
            return [] if getattr(node, "harmless", False) else [g.iter for g in node.generators]
    return []


def _import(node: ast.Import | ast.ImportFrom) -> Broken:
    module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
    for name in [module] if module else [one.name for one in node.names]:
        for rule, modules in FORBIDDEN_MODULES.items():
            if name.split(".")[0] in modules:
                yield rule, node
        if name.startswith("numpy.random"):
            yield "chance", node
    for one in node.names:
        if one.name == "prange":
            yield "parallel loop", node
        if module in ("math", "numpy") and one.name in TRANSCENDENTAL:
            yield "transcendental", node


def _call(node: ast.Call, sets: set[str]) -> Broken:
    name = _name(node.func)
    for rule in _RULES_OF_NAMES:
        if _RULES_OF_NAMES[rule](name, name.rsplit(".", 1)[-1]):
            yield rule, node
    for keyword in node.keywords:
        off = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
        if keyword.arg in ("fastmath", "parallel") and not off:
            yield "fast mathematics" if keyword.arg == "fastmath" else "parallel loop", node
    yield from _given(node, name.rsplit(".", 1)[-1], sets)


_OF_LIBRARIES = ("np.", "numpy.", "math.")
_RULES_OF_NAMES: dict[str, Callable[[str, str], bool]] = {
    "identity or hash": lambda name, last: name in ("hash", "id") or last == "__hash__",
    "input or output": lambda name, last: name in ("open", "input", "print"),
    "order of a namespace": lambda name, last: name in ("vars", "globals", "locals", "dir"),
    "order of a folder": lambda name, last: "." in name and last in UNLISTED_FILES,
    "unordered reduction": lambda name, last: (
        ("." in name and last in REDUCTIONS and not name.startswith("math."))
        or name.endswith(("add.reduce", "multiply.reduce"))
    ),
    "transcendental": lambda name, last: name.startswith(_OF_LIBRARIES) and last in TRANSCENDENTAL,
}
"""Rules that a called name breaks: given whole (a.b.c), and its last part."""


def _given(node: ast.Call, last: str, sets: set[str]) -> Broken:
    """Sets that a call walks, and elements that it takes of one."""
    if last in HARMLESS:
        for argument in node.args:
            if isinstance(argument, ast.GeneratorExp | ast.ListComp):
                argument.harmless = True  # a call is seen before its arguments
        return
    walks = isinstance(node.func, ast.Name) or last in ("array", "fromiter", "join", "extend")
    walks = walks or last in ("fromkeys", "asarray", "concatenate", "chain")
    if walks and last in _WALKING and any(_is_set(one, sets) for one in node.args):
        yield "order of a set", node
    bare = last == "pop" and not node.args and isinstance(node.func, ast.Attribute)
    if last == "popitem" or (bare and _is_set(node.func.value, sets)):
        yield "order of a set", node


_WALKING = {
    "list", "tuple", "iter", "enumerate", "zip", "map", "filter", "sum", "dict", "reversed",
    "array", "fromiter", "join", "extend", "fromkeys", "asarray", "concatenate", "chain",
}  # fmt: skip


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def _is_set(node: ast.expr, sets: set[str]) -> bool:
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Name() | ast.Attribute():
            return _name(node) in sets
        case ast.Call(func=ast.Name(id="set" | "frozenset")):
            return True
        case ast.Call(func=ast.Attribute(attr="union" | "intersection" | "difference", value=of)):
            return _is_set(of, sets)
        case ast.BinOp(op=ast.BitOr() | ast.BitAnd() | ast.Sub() | ast.BitXor()):
            return any(_is_set(side, sets) or _is_keys(side) for side in (node.left, node.right))
        case ast.IfExp(body=one, orelse=other):
            return _is_set(one, sets) or _is_set(other, sets)
    return False


def _is_keys(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and _name(node.func).endswith(".keys")


def _sets(tree: ast.Module) -> set[str]:
    """Names and attributes of a module that hold sets: as annotated, or as assigned anywhere."""
    known: set[str] = set()
    while True:
        before = len(known)
        for node in ast.walk(tree):
            match node:
                case ast.Assign(targets=targets, value=value) if _is_set(value, known):
                    known |= {_name(target) for target in targets}
                case ast.AnnAssign(target=target, annotation=annotation):
                    if _annotated(annotation) or (node.value and _is_set(node.value, known)):
                        known.add(_name(target))
                        known.add(f"self.{_name(target)}")
                case ast.arg(arg=name, annotation=annotation) if annotation is not None:
                    if _annotated(annotation):
                        known.add(name)
        known.discard("?")
        if len(known) == before:
            return known


def _annotated(annotation: ast.expr) -> bool:
    inner = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    return _name(inner) in ("set", "frozenset", "AbstractSet", "MutableSet")
