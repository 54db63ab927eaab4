"""The language of conditions: what is written into a tree, by a parser of our own.

    condition  = both {"or" both}
    both       = negated {"and" negated}
    negated    = "not" negated | compared
    compared   = sum [("<" | "<=" | ">" | ">=" | "==" | "!=") sum]
    sum        = product {("+" | "-") product}
    product    = signed {("*" | "/") signed}
    signed     = "-" signed | single
    single     = number | "(" condition ")" | field | indicator | function
    indicator  = name ["(" [number {"," number}] ")"] ["." output]
    function   = ("prev" | "highest" | "lowest" | "average") "(" sum ["," length] ")"
               | ("crosses_above" | "crosses_below") "(" sum "," sum ")"

A field is a number of the bar, or `score`, the built-in score of 0 to 100, or what was told last of
the instrument's book and contract when the bar closed: `spread` and `basis` in units of price,
`depth_1pct` and `depth_5pct` of price x quantity, both sides together, `imbalance` of -1 to 1,
`liquidity_score` of 0 to 100, `funding_rate` of one interval, `open_interest` in units of quantity.
Which indicators there are is not the language's to know. ``crosses_above(a, b)`` is
``a > b and prev(a) <= prev(b)``.

What is not known (yet), as an indicator that warms up, and what is divided by zero, is no number: a
comparison with it is neither true nor false, nor is what is made of that, unless the rest decides.
A condition holds where it is true.
"""

import re
from math import isinf
from typing import NamedTuple, NoReturn

from tidemill.schemas.screening.tree import (
    And,
    Comparison,
    Cross,
    Field,
    Indicator,
    Negative,
    Node,
    Not,
    Number,
    Or,
    Product,
    Sum,
    Window,
)

CHARACTERS_MAX = 1_000
DEPTH_MAX = 24
"""Brackets, functions and signs within each other."""
NODES_MAX = 128
LENGTH_MAX = 1_000
"""Bars that a function looks back on."""

BOOK_FIELDS = ("spread", "depth_1pct", "depth_5pct", "imbalance", "liquidity_score")
"""Of an instrument's book; not known while it is not proven, or has one side only."""
MARKET_FIELDS = (*BOOK_FIELDS, "funding_rate", "open_interest", "basis")
"""Of its book and of its contract; what its venue never said is not known."""
FIELDS = (
    *("open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume"),
    *("trade_count", "score", *MARKET_FIELDS),
)
WINDOWS = ("prev", "highest", "lowest", "average")
CROSSES = ("crosses_above", "crosses_below")
COMPARISONS = ("<=", ">=", "==", "!=", "<", ">")
_WORDS = ("and", "or", "not")
_TOKEN = re.compile(
    r"[ \t\n]*(?:(?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<name>[a-z_][a-z0-9_]*)|(?P<sign><=|>=|==|!=|[-+*/<>(),.])|(?P<end>$))"
)


class Misread(ValueError):
    """A condition that cannot be read: says at which character, and what to write."""

    def __init__(self, at: int, reason: str) -> None:
        super().__init__(f"at character {at + 1}: {reason}")
        self.at = at


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


def parse(text: str) -> Node:
    """Read a condition. Raises Misread for any other text."""
    if len(text) > CHARACTERS_MAX:
        raise Misread(CHARACTERS_MAX, f"a condition has at most {CHARACTERS_MAX} characters")
    parser = _Parser(_tokens(text))
    node = parser.condition()
    if parser.next.kind != "end":
        parser.fail(f"{parser.next.text!r} does not go on here: join conditions by and, or")
    return parser.as_condition(node, 0)


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while not found or found[-1].kind != "end":
        match = _TOKEN.match(text, at)
        if match is None:
            at += len(text[at:]) - len(text[at:].lstrip(" \t\n"))
            raise Misread(at, _unreadable(text[at]))
        kind = match.lastgroup or "end"
        found.append(_Token(kind, match[kind], match.start(kind)))
        at = match.end()
    return found


def _unreadable(character: str) -> str:
    if character == "=":
        return "write == to compare"
    if character in "&|!":
        return "write and, or, not"
    if character.isascii() and character.isupper():
        return f"{character!r}: names are written in small letters"
    return f"{character!r} is nothing of this language: write as rsi(14) < 30 and close > sma(50)"


class _Parser:
    """Reads tokens from the left; one method a rule of the grammar."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._index = 0
        self._depth = 0
        self._nodes = 0

    @property
    def next(self) -> _Token:
        return self._tokens[self._index]

    def fail(self, reason: str, at: int | None = None) -> NoReturn:
        raise Misread(self.next.at if at is None else at, reason)

    def condition(self) -> Node:
        begin = self.next.at
        node = self._both()
        while self._taken("or"):
            right = self.next.at
            node = self._made(
                Or("or", self.as_condition(node, begin), self.as_condition(self._both(), right))
            )
        return node

    def _both(self) -> Node:
        begin = self.next.at
        node = self._negated()
        while self._taken("and"):
            right = self.next.at
            node = self._made(
                And(
                    "and", self.as_condition(node, begin), self.as_condition(self._negated(), right)
                )
            )
        return node

    def _negated(self) -> Node:
        if not self._taken("not"):
            return self._compared()
        self._deeper()
        begin = self.next.at
        node = self._made(Not(self.as_condition(self._negated(), begin)))
        self._depth -= 1
        return node

    def _compared(self) -> Node:
        begin = self.next.at
        left = self._sum()
        operator = self.next.text
        if operator not in COMPARISONS:
            return left
        self._index += 1
        right = self.next.at
        node = self._made(
            Comparison(operator, self._as_number(left, begin), self._as_number(self._sum(), right))
        )
        if self.next.text in COMPARISONS:
            self.fail("two comparisons in a row: write a < b and b < c")
        return node

    def _sum(self) -> Node:
        begin = self.next.at
        node = self._product()
        while self.next.text in ("+", "-"):
            operator = self._take()
            left, right = self._as_number(node, begin), self.next.at
            node = self._made(Sum(operator, left, self._as_number(self._product(), right)))
        return node

    def _product(self) -> Node:
        begin = self.next.at
        node = self._signed()
        while self.next.text in ("*", "/"):
            operator = self._take()
            left, right = self._as_number(node, begin), self.next.at
            node = self._made(Product(operator, left, self._as_number(self._signed(), right)))
        return node

    def _signed(self) -> Node:
        if not self._taken("-"):
            return self._single()
        self._deeper()
        begin = self.next.at
        node = self._made(Negative(self._as_number(self._signed(), begin)))
        self._depth -= 1
        return node

    def _single(self) -> Node:
        token = self.next
        if token.kind == "number":
            return self._made(Number(self._number()))
        if self._taken("("):
            self._deeper()
            node = self.condition()
            self._expect(")", "close the bracket with )")
            self._depth -= 1
            return node
        if token.kind != "name" or token.text in _WORDS:
            what = repr(token.text) if token.text else "the end"
            self.fail(f"{what} where a number or a condition is wanted, as rsi(14) < 30")
        self._index += 1
        if token.text in FIELDS:
            if self.next.text == "(":
                self.fail(f"{token.text} is a number of the bar: write {token.text} without (")
            return self._made(Field(token.text))
        if token.text in WINDOWS:
            return self._window(token.text)
        if token.text in CROSSES:
            return self._cross(token.text)
        return self._indicator(token.text)

    def _window(self, function: str) -> Node:
        self._expect("(", f"write {function}(close, 20)")
        self._deeper()
        begin = self.next.at
        of = self._as_number(self.condition(), begin)
        length = 1
        if function != "prev" or self.next.text == ",":
            self._expect(",", f"{function} is of so many bars: write {function}(close, 20)")
            length = self._length(function)
        self._expect(")", f"close {function} with )")
        self._depth -= 1
        return self._made(Window(function, of, length))

    def _length(self, function: str) -> int:
        at = self.next.at
        value = self._number() if self.next.kind == "number" else 0.0
        if value != int(value) or not 1 <= value <= LENGTH_MAX:
            self.fail(f"{function} is of 1 to {LENGTH_MAX} bars, a whole number in digits", at)
        return int(value)

    def _cross(self, function: str) -> Node:
        self._expect("(", f"write {function}(ema(20), ema(50))")
        self._deeper()
        begin = self.next.at
        left = self._as_number(self.condition(), begin)
        self._expect(",", f"{function} is of two numbers: write {function}(ema(20), ema(50))")
        begin = self.next.at
        right = self._as_number(self.condition(), begin)
        self._expect(")", f"close {function} with )")
        self._depth -= 1
        return self._made(Cross(function, left, right))

    def _indicator(self, name: str) -> Node:
        given: list[float] = []
        if self._taken("("):
            while self.next.kind == "number":
                given.append(self._number())
                if self.next.text != ",":
                    break
                self._index += 1
                if self.next.kind != "number":
                    self.fail(f"a parameter of {name} is a number in digits, as {name}(14)")
            self._expect(")", f"parameters of {name} are numbers in digits, then )")
        output = ""
        if self._taken("."):
            if self.next.kind != "name":
                self.fail(f"the name of an output of {name} comes after the point")
            output = self._take()
        return self._made(Indicator(name, tuple(given), output))

    def _number(self) -> float:
        value = float(self.next.text)
        if isinf(value):
            self.fail(f"{self.next.text} is too large")
        self._index += 1
        return value

    def _take(self) -> str:
        text = self.next.text
        self._index += 1
        return text

    def _taken(self, text: str) -> bool:
        if self.next.text != text:
            return False
        self._index += 1
        return True

    def _expect(self, text: str, reason: str) -> None:
        if not self._taken(text):
            self.fail(reason)

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            self.fail(f"more than {DEPTH_MAX} brackets and signs within each other")

    def _made(self, node: Node) -> Node:
        self._nodes += 1
        if self._nodes > NODES_MAX:
            self.fail(f"a condition has at most {NODES_MAX} numbers, names and signs")
        return node

    def as_condition(self, node: Node, at: int) -> Node:
        if not node.condition:
            self.fail(
                f"{node} is a number where a condition is wanted: compare it, as {node} > 0", at
            )
        return node

    def _as_number(self, node: Node, at: int) -> Node:
        if node.condition:
            self.fail(f"{node} is a condition where a number is wanted", at)
        return node
