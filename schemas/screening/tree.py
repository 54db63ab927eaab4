"""A condition as a tree, and how it is written: `str(tree)` reads back as the same tree."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Node:
    """A part of a condition. `condition` says that it is true or false, not a number; `rank` how
    strongly it holds together: a part of a lower rank stands in brackets."""

    condition: ClassVar[bool] = False
    rank: ClassVar[int] = 7

    @property
    def parts(self) -> tuple["Node", ...]:
        """What it is made of, in the order in which it is written."""
        return ()


@dataclass(frozen=True)
class Number(Node):
    """A literal, finite and not negative."""

    value: float

    def __str__(self) -> str:
        return number(self.value)


@dataclass(frozen=True)
class Field(Node):
    """A number of the bar, as its close."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Indicator(Node):
    """An output of an indicator; parameters that are left out are its defaults, and so is the
    output of one that has a single one."""

    name: str
    parameters: tuple[float, ...] = ()
    output: str = ""

    def __str__(self) -> str:
        given = f"{self.name}({','.join(map(number, self.parameters))})"
        return f"{given}.{self.output}" if self.output else given


@dataclass(frozen=True)
class Window(Node):
    """A number of earlier bars: `prev` of `length` bars ago; `highest`, `lowest` or `average` of
    the last `length` ones, this one counted."""

    function: str
    of: Node
    length: int

    @property
    def parts(self) -> tuple[Node, ...]:
        return (self.of,)

    def __str__(self) -> str:
        return f"{self.function}({self.of}, {self.length})"


@dataclass(frozen=True)
class Negative(Node):
    """A number with its sign turned."""

    rank: ClassVar[int] = 6
    of: Node

    @property
    def parts(self) -> tuple[Node, ...]:
        return (self.of,)

    def __str__(self) -> str:
        return f"-{_within(self.of, 6)}"


@dataclass(frozen=True)
class Pair(Node):
    """Two parts and what stands between them."""

    operator: str
    left: Node
    right: Node

    @property
    def parts(self) -> tuple[Node, ...]:
        return (self.left, self.right)

    def __str__(self) -> str:
        left, right = _within(self.left, self.rank), _within(self.right, self.rank + 1)
        return f"{left} {self.operator} {right}"


@dataclass(frozen=True)
class Sum(Pair):
    """``+`` or ``-`` of numbers."""

    rank: ClassVar[int] = 4


@dataclass(frozen=True)
class Product(Pair):
    """``*`` or ``/`` of numbers."""

    rank: ClassVar[int] = 5


@dataclass(frozen=True)
class Comparison(Pair):
    """Two numbers compared."""

    condition: ClassVar[bool] = True
    rank: ClassVar[int] = 3

    def __str__(self) -> str:
        return f"{_within(self.left, 4)} {self.operator} {_within(self.right, 4)}"


@dataclass(frozen=True)
class Cross(Node):
    """A number that comes above, or below, another one at this bar."""

    condition: ClassVar[bool] = True
    function: str
    left: Node
    right: Node

    @property
    def parts(self) -> tuple[Node, ...]:
        return (self.left, self.right)

    def __str__(self) -> str:
        return f"{self.function}({self.left}, {self.right})"


@dataclass(frozen=True)
class Not(Node):
    """The opposite of a condition."""

    condition: ClassVar[bool] = True
    rank: ClassVar[int] = 2
    of: Node

    @property
    def parts(self) -> tuple[Node, ...]:
        return (self.of,)

    def __str__(self) -> str:
        return f"not {_within(self.of, 2)}"


@dataclass(frozen=True)
class And(Pair):
    """Both conditions."""

    condition: ClassVar[bool] = True
    rank: ClassVar[int] = 1


@dataclass(frozen=True)
class Or(Pair):
    """Either condition, or both."""

    condition: ClassVar[bool] = True
    rank: ClassVar[int] = 0


def walk(node: Node) -> Iterator[Node]:
    """Return a tree's nodes, each after those that it is made of."""
    for part in node.parts:
        yield from walk(part)
    yield node


def number(value: float) -> str:
    """Write a number as the language reads it."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def _within(node: Node, rank: int) -> str:
    return str(node) if node.rank >= rank else f"({node})"
