"""What a simulated account is made of: settings, cash, markets, orders, fills, trips, points.

Money is exact: 128-bit numbers of one unit, 10^exponent of the quote currency, where the exponent
is the finest of the instruments' price and quantity exponents together, less six, so that fees in
millionths have no remainder. Every row begins as zeros.
"""

import numpy as np

ORDERS_MAX = 16
"""Open orders of one instrument."""
FILLS_A_MOMENT = 12 * ORDERS_MAX
"""Most fills of one instrument at one moment: each order and what protects its position, turning it
or not, in a range, at a close and at an open."""
INT64_MAX = (1 << 63) - 1

MARKET, LIMIT, STOP = 1, 2, 3
"""Kinds of orders; 0 is a free place."""
FRACTION, FIXED = 0, 1
"""How an order for a target is sized: a part of the equity, or a quantity."""
HOLD = -(1 << 63)
"""In a column of targets: nothing is decided here."""
CLOSE, DECIDE, OPEN, DONE = 0, 1, 2, 3
"""What a walk does next."""
PAUSE_BAR, PAUSE_RECORD, PAUSE_FILL = 1, 2, 4
"""What a walk is left at for Python: closed bars, each record, fills."""

SETTINGS = np.dtype(
    [
        ("taker_ppm", "<i8"),
        ("maker_ppm", "<i8"),
        ("slippage_ppm", "<i8"),  # of orders that take: against them, a whole tick at least
        ("latency_ns", "<i8"),  # from the moment of an order until a venue has it
        ("fraction_ppm", "<i8"),  # of equity, for a target of one
        ("stop_ppm", "<i8"),  # of the entry's price, 0 none
        ("take_ppm", "<i8"),
        ("sizing", "u1"),
        ("short", "u1"),
        ("through", "u1"),  # resting limits fill when traded through, not when touched
        ("at_close", "u1"),  # market orders fill at the close of the bar that decided
        ("bars", "u1"),  # records are bars, with a range; else trades
    ],
    align=True,
)

ACCOUNT = np.dtype(
    [
        ("cash_lo", "<u8"),
        ("cash_hi", "<i8"),
        ("value_lo", "<u8"),  # of all positions, at last prices
        ("value_hi", "<i8"),
        ("fees_lo", "<u8"),
        ("fees_hi", "<i8"),
        ("turnover_lo", "<u8"),  # sum of the notionals of all fills
        ("turnover_hi", "<i8"),
        ("ts", "<i8"),  # ns
        ("orders", "<i8"),  # number of orders that there were
        ("fills", "<i8"),
        ("trips", "<i8"),
        ("points", "<i8"),
        ("held", "<i8"),  # points with any position
        ("positions", "<i8"),  # instruments with one
        ("denied", "<i8"),  # orders or parts of them that there was no room for
        ("look", "<i8"),  # one more than the instrument whose record a walk was left at, 0 none
        ("phase", "u1"),
        ("ended", "u1"),  # 1 while bars are closed and not yet decided on
        ("overflow", "u1"),  # a sum left 128 bits: nothing here is worth anything
    ],
    align=True,
)

POSITION = np.dtype(
    [
        ("factor", "<i8"),  # 10^d that makes price x quantity the account's unit over 10^6
        ("lot", "<i8"),  # smallest quantity
        ("fixed", "<i8"),  # quantity of a target of one, by FIXED
        ("position", "<i8"),
        ("last", "<i8"),
        ("target", "<i8"),  # newest decided, in millionths
        ("record", "<i8"),  # next record, and the end of them
        ("record_end", "<i8"),
        ("bar", "<i8"),  # next bar to close, and the end of them
        ("bar_end", "<i8"),
        ("next_ts", "<i8"),
        ("orders", "<i8"),
        ("ended", "u1"),
        ("entry_ts", "<i8"),  # of the trip that is open:
        ("entry_quantity", "<i8"),
        ("entry_lo", "<u8"),
        ("entry_hi", "<i8"),
        ("exit_lo", "<u8"),
        ("exit_hi", "<i8"),
        ("fees_lo", "<u8"),
        ("fees_hi", "<i8"),
    ],
    align=True,
)
"""One instrument in the account."""

ORDER = np.dtype(
    [
        ("id", "<i8"),
        ("active_ts", "<i8"),  # records from then on may fill it
        ("quantity", "<i8"),  # 0: what `target` comes to
        ("target", "<i8"),  # millionths of what the sizing says, below zero short
        ("price", "<i8"),
        ("stop", "<i8"),  # prices of what protects the position that it opens, 0 as settings say
        ("take", "<i8"),
        ("born", "<i8"),  # record in whose range it came to be, -1 otherwise
        ("side", "i1"),  # 1 buys, -1 sells, 0 as the target needs
        ("kind", "u1"),
        ("reduce", "u1"),  # never opens anything
        ("bracket", "u1"),  # ends with the position that it protects
        ("seen", "u1"),  # rests since an earlier record
    ],
    align=True,
)

FILL = np.dtype(
    [
        ("order", "<i8"),
        ("ts", "<i8"),
        ("record", "<i8"),
        ("market", "<i4"),
        ("side", "i1"),
        ("kind", "u1"),  # of its order
        ("bracket", "u1"),
        ("maker", "u1"),
        ("price", "<i8"),
        ("quantity", "<i8"),
        ("fee_lo", "<u8"),
        ("fee_hi", "<i8"),
    ],
    align=True,
)

TRIP = np.dtype(
    [
        ("market", "<i4"),
        ("side", "i1"),
        ("entry_ts", "<i8"),
        ("exit_ts", "<i8"),
        ("quantity", "<i8"),  # bought, or sold short, in all
        ("entry_lo", "<u8"),  # notionals, in the account's unit
        ("entry_hi", "<i8"),
        ("exit_lo", "<u8"),
        ("exit_hi", "<i8"),
        ("fees_lo", "<u8"),
        ("fees_hi", "<i8"),
    ],
    align=True,
)
"""From no position to no position again: gains need no rule of what was sold first."""

POINT = np.dtype([("ts", "<i8"), ("equity_lo", "<u8"), ("equity_hi", "<i8")], align=True)
"""Equity once the bars that end at `ts` are decided on."""
