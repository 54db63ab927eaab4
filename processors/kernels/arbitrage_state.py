"""The state of arbitrage: what can be bought and sold at each instrument, and what is open.

A row is one instrument, packed, and begins as zeros, which is "nothing known". Prices are at -10,
quantities in base units at -8, whatever the venue's own are. Opportunities stand in the row of the
instrument that is bought, at the place of the one that is sold among those of the pair in the order
in which LOG defined them: that is the same in every shard.
"""

import numpy as np

from tidemill.processors.kernels.book_state import TOP

PRICE_EXPONENT, QUANTITY_EXPONENT = -10, -8
"""Exponents of opportunities: several venues need one scale."""
MEMBERS_MAX = 32
"""Instruments of a pair that can take part; later ones cannot."""
FRESH_NS = 30_000_000_000
"""A book or quote received longer before `time` is not used, in ns."""

LADDER = np.dtype(
    [
        ("count", "<i8"),
        ("prices", "<i8", (TOP,)),
        ("quantities", "<i8", (TOP,)),
    ]
)
"""Levels of one side, best first."""

OPEN = np.dtype(
    [
        ("ts_opened", "<i8"),  # 0: not open
        ("opened_r", "<u8"),
        ("opened_i", "<u4"),
        ("changes", "<u4"),
        ("second", "<i8"),  # of `time`, when it was told last
        ("buy_price", "<i8"),  # as told last
        ("sell_price", "<i8"),
        ("quantity", "<i8"),
        ("net_lo", "<u8"),
        ("net_hi", "<i8"),
    ]
)
"""One opportunity."""

STATE = np.dtype(
    [
        ("at_r", "<u8"),  # position of the levels held
        ("at_i", "<u4"),
        ("has_book", "u1"),  # 1 once a book was told
        ("valid", "u1"),  # 1 while that book is VALID and its levels are held
        ("dirty", "u1"),  # 1 if anything changed since its pair was looked at
        ("book_recv", "<i8"),  # receipt of the book's newest message, ns
        ("quote_recv", "<i8"),  # receipt of the quote, 0 none, ns
        ("second", "<i8"),  # newest second of `time` in which its pair was looked at
        ("bids", LADDER),  # of the book
        ("asks", LADDER),
        ("bid", LADDER),  # of the quote
        ("ask", LADDER),
        ("open", OPEN, (MEMBERS_MAX,)),
    ]
)
"""One row of the processor's state: one instrument."""
