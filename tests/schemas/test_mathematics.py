"""The logarithm against decimals of forty digits."""

import math
from decimal import Decimal, localcontext

from hypothesis import example, given
from hypothesis import strategies as st

from tidemill.schemas.mathematics import log


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
