"""Every indicator there is, by name: one family a line."""

from tidemill.processors.kernels import (
    bands,
    moving_averages,
    order_flow,
    oscillators,
    trend,
    volatility,
    volume,
)
from tidemill.processors.kernels.indicator import Indicator

INDICATORS: dict[str, Indicator] = {
    indicator.name: indicator
    for family in (
        moving_averages.FAMILY,
        oscillators.FAMILY,
        trend.FAMILY,
        bands.FAMILY,
        volatility.FAMILY,
        volume.FAMILY,
        order_flow.FAMILY,
    )
    for indicator in family
}
