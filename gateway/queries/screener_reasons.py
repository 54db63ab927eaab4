"""Why a signal: the terms of its score in words, and the condition that came true."""

from typing import Any

from tidemill.gateway.queries.clickhouse import Row

_SAYS = {
    "rsi": {15: "RSI is below 30", -15: "RSI is above 70", 0: "RSI is from 30 to 70"},
    "macd": {10: "MACD is above its signal", -10: "MACD is not above its signal"},
    "average": {
        20: "close > EMA 20 > EMA 50 > EMA 200",
        -20: "close < EMA 20 < EMA 50 < EMA 200",
        10: "the close is above EMA 50",
        -10: "the close is below EMA 50",
        0: "the close is EMA 50",
    },
    "band": {
        10: "the close is below the lower Bollinger band",
        -10: "the close is above the upper Bollinger band",
        0: "the close is within the Bollinger bands",
    },
    "stochastic": {
        5: "stochastic k and d are below 20",
        -5: "stochastic k and d are above 80",
        0: "stochastic k and d are not both below 20 or above 80",
    },
}


def reasons(row: Row) -> list[dict[str, Any]]:
    """Return the condition of a signal that was raised, and the terms of its score, if any."""
    found: list[dict[str, Any]] = []
    if row["status"] == "RAISED":
        found.append({"term": "condition", "says": row["condition"], "points": None})
    if row["score"] is not None:
        for term, says in _SAYS.items():
            points = row[f"{term}_points"]
            found.append({"term": term, "says": says[int(points)], "points": points})
    return found
