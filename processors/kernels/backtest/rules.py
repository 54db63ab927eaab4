"""What a simulated account pays and may do."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

PPM_MAX = 100_000
"""Most that a fee or slippage may be, in millionths: 10 %."""


@dataclass(frozen=True)
class Rules:
    """Defaults are reference.md's F-152 and F-153: 10,000 to begin with, 0.1 % and 0.05 %.

    `fraction_ppm` of equity is what a target of one holds, each instrument an equal part of it;
    `quantity` instead, where it is given. `stop_ppm` and `take_ppm` are distances from the entry's
    price at which a position is closed, 0 for none. `risk_free` is a year's, for the ratios.
    """

    initial: Decimal = Decimal(10_000)
    taker_ppm: int = 1_000
    maker_ppm: int = 1_000
    slippage_ppm: int = 500
    latency_ns: int = 0
    fraction_ppm: int = 1_000_000
    quantity: Decimal | None = None
    short: bool = False
    stop_ppm: int = 0
    take_ppm: int = 0
    fill_at: Literal["open", "close"] = "open"
    limits: Literal["touch", "through"] = "touch"
    risk_free: float = 0.02

    def __post_init__(self) -> None:
        if self.initial <= 0:
            raise ValueError(f"an account begins with more than {self.initial}")
        bounds = {
            "taker_ppm": (-PPM_MAX, PPM_MAX),
            "maker_ppm": (-PPM_MAX, PPM_MAX),
            "slippage_ppm": (0, PPM_MAX),
            "fraction_ppm": (1, 1_000_000),
            "stop_ppm": (0, 999_999),
            "take_ppm": (0, 10_000_000),
            "latency_ns": (0, 60_000_000_000),
        }
        for name, (low, high) in bounds.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} is from {low:,} to {high:,}")
