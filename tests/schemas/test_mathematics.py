"""The logarithm and its inverse against decimals of forty digits."""

import math
from decimal import Decimal, localcontext

from hypothesis import example, given
from hypothesis import strategies as st

from tidemill.schemas.mathematics import exp, log


@given(st.floats(min_value=5e-324, allow_nan=False, allow_infinity=False))
@example(1.0)
@example(math.nextafter(1.0, 0.0))
@example(math.nextafter(1.0, 2.0))
@example(math.sqrt(0.5))
@example(5e-324)
@example(1.7976931348623157e308)
def test_it_is_off_by_less_than_one_unit_in_the_last_place(x: float) -> None:
    with localcontext() as context:
        context.prec = 40
        exact = Decimal(x).ln()
        found = log(x)
        assert abs(Decimal(found) - exact) <= Decimal(math.ulp(found))


def test_what_has_no_logarithm() -> None:
    assert log(0.0) == -math.inf
    assert log(math.inf) == math.inf
    assert math.isnan(log(-1.0))
    assert math.isnan(log(math.nan))
    assert log(1.0) == 0.0


@given(st.floats(min_value=-746.0, max_value=709.78))
@example(0.0)
@example(5e-324)
@example(-1e-300)
@example(0.34657359027997264)
@example(-0.34657359027997275)
@example(709.782712893384)
@example(-708.3964185322641)
@example(-744.44)
@example(-745.13)
def test_its_inverse_is_off_by_less_than_one_unit_in_the_last_place(x: float) -> None:
    with localcontext() as context:
        context.prec = 40
        found = exp(x)
        assert abs(Decimal(found) - Decimal(x).exp()) <= Decimal(math.ulp(found))


def test_what_is_too_large_or_too_small_to_be_a_number() -> None:
    assert exp(0.0) == 1.0
    assert exp(math.nextafter(709.782712893384, math.inf)) == math.inf
    assert exp(math.inf) == math.inf
    assert exp(-745.1332191019412) == 0.0
    assert exp(-math.inf) == 0.0
    assert math.isnan(exp(math.nan))
