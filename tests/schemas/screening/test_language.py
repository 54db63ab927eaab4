"""The language of conditions: what is read, what is refused and how, and back to text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.schemas.screening.language import (
    CHARACTERS_MAX,
    COMPARISONS,
    CROSSES,
    DEPTH_MAX,
    FIELDS,
    LENGTH_MAX,
    NODES_MAX,
    WINDOWS,
    Misread,
    parse,
)
from tidemill.schemas.screening.strategies import STRATEGIES
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
    walk,
)

POSITIVE = st.one_of(
    st.integers(0, 10**16).map(float), st.floats(0, 1e300, allow_subnormal=True)
).map(abs)
NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: name not in (*FIELDS, *WINDOWS, *CROSSES, "and", "or", "not")
)
LEAVES = st.one_of(
    st.builds(Number, POSITIVE),
    st.builds(Field, st.sampled_from(FIELDS)),
    st.builds(
        Indicator, NAMES, st.lists(POSITIVE, max_size=3).map(tuple), st.one_of(st.just(""), NAMES)
    ),
)
NUMBERS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(Negative, inner),
        st.builds(Sum, st.sampled_from("+-"), inner, inner),
        st.builds(Product, st.sampled_from("*/"), inner, inner),
        st.builds(Window, st.sampled_from(WINDOWS), inner, st.integers(1, LENGTH_MAX)),
    ),
    max_leaves=6,
)
CONDITIONS = st.recursive(
    st.one_of(
        st.builds(Comparison, st.sampled_from(COMPARISONS), NUMBERS, NUMBERS),
        st.builds(Cross, st.sampled_from(CROSSES), NUMBERS, NUMBERS),
    ),
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.just("and"), inner, inner),
        st.builds(Or, st.just("or"), inner, inner),
    ),
    max_leaves=4,
)


def _fits(tree: Node) -> bool:
    return len(str(tree)) <= CHARACTERS_MAX and len(list(walk(tree))) <= NODES_MAX


@given(CONDITIONS.filter(_fits))
def test_what_a_tree_is_written_as_reads_back_as_the_same_tree(tree: Node) -> None:
    try:
        read = parse(str(tree))
    except Misread as error:
        assert "within each other" in str(error)
    else:
        assert read == tree


SCRAPS = st.sampled_from(
    (*FIELDS, *WINDOWS, *CROSSES, *COMPARISONS, *"+-*/(),.= \n&", "rsi", "and", "or")
).flatmap(lambda one: st.sampled_from((one, "not", "14", "0.5", "1e400", "é", "\x00", "X")))


@given(st.one_of(st.text(max_size=60), st.lists(SCRAPS, max_size=40).map(" ".join)))
def test_of_any_other_text_the_one_error_is_raised_and_it_says_where(text: str) -> None:
    try:
        tree = parse(text)
    except Misread as error:
        assert 0 <= error.at <= len(text)
        assert str(error).startswith(f"at character {error.at + 1}: ")
    else:
        assert parse(str(tree)) == tree and tree.condition


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("close > 2", Comparison(">", Field("close"), Number(2.0))),
        (
            "open < 1 or high < 2 and not low < 3",
            Or(
                "or",
                Comparison("<", Field("open"), Number(1.0)),
                And(
                    "and",
                    Comparison("<", Field("high"), Number(2.0)),
                    Not(Comparison("<", Field("low"), Number(3.0))),
                ),
            ),
        ),
        (
            "1 - 2 - 3 * -4 == 0",
            Comparison(
                "==",
                Sum(
                    "-",
                    Sum("-", Number(1.0), Number(2.0)),
                    Product("*", Number(3.0), Negative(Number(4.0))),
                ),
                Number(0.0),
            ),
        ),
        (
            "obv >= macd(12, 26,9).signal",
            Comparison(">=", Indicator("obv"), Indicator("macd", (12.0, 26.0, 9.0), "signal")),
        ),
        ("prev(close) < score", Comparison("<", Window("prev", Field("close"), 1), Field("score"))),
        ("(((close > 1)))", Comparison(">", Field("close"), Number(1.0))),
    ],
)
def test_signs_bind_as_everywhere(text: str, tree: Node) -> None:
    assert parse(text) == tree


@pytest.mark.parametrize(
    ("text", "at", "said"),
    [
        ("", 1, "the end where a number or a condition is wanted, as rsi(14) < 30"),
        ("rsi(14)", 1, "rsi(14) is a number where a condition is wanted: compare it"),
        ("close > 1 and rsi(14)", 15, "compare it, as rsi(14) > 0"),
        ("close + (low > 1) > 2", 9, "low > 1 is a condition where a number is wanted"),
        ("highest(low > 1, 3) > 2", 9, "is a condition where a number is wanted"),
        ("1 < close < 3", 11, "write a < b and b < c"),
        ("close = 3", 7, "write == to compare"),
        ("close > 3 && low > 1", 11, "write and, or, not"),
        ("RSI(14) < 30", 1, "small letters"),
        ("close(3) > 1", 6, "write close without ("),
        ("highest(high) > 1", 13, "write highest(close, 20)"),
        ("highest(high, 1001) > 1", 15, "1 to 1000 bars"),
        ("prev(high, 0) > 1", 12, "1 to 1000 bars"),
        ("prev(high, 1.5) > 1", 12, "a whole number in digits"),
        ("prev(high, low) > 1", 12, "a whole number in digits"),
        ("crosses_above(close) > 1", 20, "write crosses_above(ema(20), ema(50))"),
        ("rsi(close) > 1", 5, "parameters of rsi are numbers in digits"),
        ("rsi(14,) > 1", 8, "a parameter of rsi is a number in digits, as rsi(14)"),
        ("macd(12).(3) > 1", 10, "the name of an output of macd"),
        ("(close > 1", 11, "close the bracket with )"),
        ("close > 1 low > 2", 11, "join conditions by and, or"),
        ("close > 1e999", 9, "too large"),
        ("close > 1; import os", 10, "nothing of this language"),
    ],
)
def test_an_error_says_where_and_what_to_write(text: str, at: int, said: str) -> None:
    with pytest.raises(Misread, match=r"^at character") as raised:
        parse(text)
    assert raised.value.at == at - 1
    assert said in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "close > " + "1" * CHARACTERS_MAX,
        "(" * (DEPTH_MAX + 1) + "close > 1" + ")" * (DEPTH_MAX + 1),
        "not " * (DEPTH_MAX + 1) + "close > 1",
        "close > " + "-" * (DEPTH_MAX + 1) + "1",
        "+".join(["1"] * NODES_MAX) + " > 1",
    ],
)
def test_what_is_too_long_or_too_deep_is_refused(text: str) -> None:
    with pytest.raises(Misread):
        parse(text)


def test_the_sixteen_strategies_are_read_as_they_are_written() -> None:
    assert len(STRATEGIES) == 16
    for strategy in STRATEGIES.values():
        assert str(parse(strategy.condition)) == strategy.condition
