"""Numbers that a venue writes finer than anything is kept: rounded, to even at the half.

For what is an average or a rate (index and mark prices, funding, turnovers) only; prices and
quantities of trades and books are exact or refused.
"""

from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation

from tidemill.schemas.decimals import TEXT_CHARS_MAX
from tidemill.schemas.errors import Unreadable

_EXACT = Context(prec=2 * TEXT_CHARS_MAX)


def rounded(text: str, exponent: int) -> str:
    """Return `text` with at most -exponent decimals. Raises Unreadable for what is no number."""
    _, _, fraction = text.partition(".")
    if len(fraction) <= -exponent and fraction.isdecimal():
        return text
    if len(text) > TEXT_CHARS_MAX:
        raise Unreadable(f"{text[:TEXT_CHARS_MAX]!r} is no decimal number")
    try:
        number = Decimal(text).quantize(Decimal(1).scaleb(exponent), ROUND_HALF_EVEN, _EXACT)
    except InvalidOperation as error:
        raise Unreadable(f"{text!r} is no decimal number") from error
    return f"{number:f}"
