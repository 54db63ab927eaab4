"""Every indicator there is, by name: one family a line."""

from tidemill.processors.kernels import (
    anomalies,
    bands,
    moving_averages,
    order_flow,
    oscillators,
    trend,
    volatility,
    volume,
)
from tidemill.processors.kernels.indicator import Given, Indicator

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
        anomalies.FAMILY,
    )
    for indicator in family
}


def asked(text: str) -> tuple[Indicator, Given]:
    """Read ``macd(12,26,9)``: an indicator, and its parameters, defaults for those left out.

    Raises ValueError that says what there is.
    """
    name, _, rest = text.partition("(")
    indicator = INDICATORS.get(name)
    if indicator is None:
        raise ValueError(f"there is no indicator {name}; there are {', '.join(sorted(INDICATORS))}")
    values = [float(value) for value in rest.removesuffix(")").split(",") if value]
    declared = [parameter.name for parameter in indicator.parameters]
    if len(values) > len(declared):
        raise ValueError(f"{name} has {len(declared)} parameters, not {len(values)}")
    return indicator, indicator.checked(**dict(zip(declared, values, strict=False)))
