"""What holds for every indicator: any split gives the same bits, and nothing is divided by zero."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.processors.kernels.indicator import (
    BAR_INPUTS,
    OUTPUTS_MAX,
    QUOTE_INPUTS,
    Indicator,
    Values,
    computed,
)
from tidemill.processors.kernels.indicator_catalog import INDICATORS
from tidemill.tests.processors.kernels.klines import walk

COUNT = 600
EVERY = pytest.mark.parametrize("indicator", INDICATORS.values(), ids=lambda i: i.name)
SHORT = {"volume": 60.0, "buckets": 7.0}
"""Parameters with which every indicator has a value within COUNT records."""


def chosen(indicator: Indicator) -> tuple[float, ...]:
    names = {parameter.name for parameter in indicator.parameters}
    return indicator.checked(**{name: value for name, value in SHORT.items() if name in names})


def columns(indicator: Indicator, seed: int = 1, start: float = 100.0) -> Values:
    made = walk(seed, COUNT, start)
    return np.array([made[name] for name in indicator.inputs])


def in_parts(indicator: Indicator, inputs: Values, sizes: list[int]) -> tuple[Values, Values]:
    """Run over parts of these sizes, then the rest, the state copied between; return it, too."""
    given_, state, outputs = np.array(chosen(indicator)), indicator.empty(chosen(indicator)), []
    for part in np.split(inputs, np.minimum(np.cumsum(sizes), COUNT), axis=1):
        state = np.frombuffer(state.tobytes()).copy()  # a snapshot, and a process that begins again
        out = np.empty((len(indicator.outputs), part.shape[1]))
        indicator.run(state, given_, np.ascontiguousarray(part), out)
        outputs.append(out)
    return np.concatenate(outputs, axis=1), state


@EVERY
@settings(max_examples=12, deadline=None)
@given(sizes=st.lists(st.integers(0, 90), max_size=20), seed=st.integers(0, 3))
def test_any_split_and_a_restart_anywhere_give_the_same_bits(
    indicator: Indicator, sizes: list[int], seed: int
) -> None:
    inputs = columns(indicator, seed)
    whole, state = in_parts(indicator, inputs, [])
    parts, state_of_parts = in_parts(indicator, inputs, sizes)
    assert parts.tobytes() == whole.tobytes()
    assert state_of_parts.tobytes() == state.tobytes()


@EVERY
def test_one_record_at_a_time_is_the_whole(indicator: Indicator) -> None:
    inputs = columns(indicator)
    assert in_parts(indicator, inputs, [1] * COUNT)[0].tobytes() == (
        computed(indicator, chosen(indicator), inputs).tobytes()
    )


@EVERY
def test_the_first_value_comes_after_the_warm_up_and_there_is_no_hole_after_it(
    indicator: Indicator,
) -> None:
    outputs = computed(indicator, chosen(indicator), columns(indicator))
    assert np.isfinite(outputs[:, -1]).all()
    missing = np.isnan(outputs).any(axis=0)
    first = int(np.argmin(missing))
    assert not missing[first:].any()
    warm_up = indicator.warm_up(chosen(indicator))
    assert warm_up in (first, None)


@EVERY
@pytest.mark.parametrize("price", [0.0, 1e-12, 1.0, 1e12])
def test_a_market_that_stands_still_has_values_and_no_division_by_zero(
    indicator: Indicator, price: float
) -> None:
    still = {name: np.full(COUNT, price) for name in (*BAR_INPUTS, *QUOTE_INPUTS)}
    still |= {name: np.zeros(COUNT) for name in ("volume", "quote_volume", "taker_buy_volume")}
    still |= {name: np.zeros(COUNT) for name in ("bid_size", "ask_size")}
    outputs = computed(
        indicator, chosen(indicator), np.array([still[name] for name in indicator.inputs])
    )
    if indicator.name == "vpin":  # no volume, no bucket
        assert np.isnan(outputs).all()
    elif price or indicator.name not in ("realised", "parkinson", "garman_klass", "yang_zhang"):
        assert np.isfinite(outputs[:, -1]).all()  # a price of 0 has no logarithm


@EVERY
def test_prices_of_any_size_give_the_same_shape(indicator: Indicator) -> None:
    for start in (1e-9, 1e9):
        outputs = computed(indicator, chosen(indicator), columns(indicator, 1, start))
        assert np.isfinite(outputs[:, -1]).all()


@EVERY
def test_its_names_are_known_ones(indicator: Indicator) -> None:
    known = BAR_INPUTS if indicator.source == "bar" else QUOTE_INPUTS
    assert set(indicator.inputs) <= set(known)
    assert 1 <= len(indicator.outputs) <= OUTPUTS_MAX
    assert len(set(indicator.outputs)) == len(indicator.outputs)
    assert indicator.run.__doc__
    assert indicator.checked() == tuple(p.default for p in indicator.parameters)
    assert indicator.instance(indicator.checked()).startswith(indicator.name + "(")


@EVERY
def test_parameters_out_of_bounds_are_refused_with_what_is_allowed(indicator: Indicator) -> None:
    with pytest.raises(ValueError, match=f"{indicator.name} has no nonsense"):
        indicator.checked(nonsense=1)
    for parameter in indicator.parameters:
        for value in (parameter.low - 1, parameter.high * 2, float("nan"), float("inf")):
            with pytest.raises(ValueError, match=rf"{indicator.name}: {parameter.name} is a"):
                indicator.checked(**{parameter.name: value})
        if parameter.whole:
            with pytest.raises(ValueError, match="is a whole number"):
                indicator.checked(**{parameter.name: parameter.default + 0.5})


@pytest.mark.parametrize(
    ("name", "given_", "why"),
    [
        ("macd", {"fast": 26, "slow": 12}, "fast must be below slow"),
        ("ichimoku", {"conversion": 30}, "the periods must rise"),
        ("psar", {"step": 0.5}, "step must not be above most"),
    ],
)
def test_parameters_that_do_not_go_together_are_refused(
    name: str, given_: dict[str, float], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        INDICATORS[name].checked(**given_)


def test_there_are_forty_and_more() -> None:
    assert len(INDICATORS) >= 45
