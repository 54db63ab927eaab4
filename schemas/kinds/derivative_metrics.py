"""What funding, open interest and basis of a derivative say."""

from tidemill.schemas.frame import Field, Kind
from tidemill.schemas.kinds.position import AT

DERIVATIVE_METRICS = Kind(
    "derivative_metrics",
    14,
    "Funding, open interest and basis of one instrument, each with what it was; `fields` says what"
    " is known.",
    (
        *AT,
        Field("ts", "int64", "the time record that this was made at", "ns"),
        Field("ts_event", "int64", "the newest message, by the venue's clock", "ns"),
        Field("ts_recv", "int64", "receipt of the newest message, by our clock", "ns"),
        Field("mark_price", "int64", "mark price", "price"),
        Field("index_price", "int64", "index price", "price"),
        Field("basis", "int64", "mark minus index price, 0 unless both are known", "price"),
        Field("basis_ratio", "int64", "basis over index price, in 1e-9, rounded to zero"),
        Field("funding_rate", "int64", "funding rate of one interval, in 1e-12"),
        Field("funding_annualized", "int64", "the same over 365 days, not compounded, in 1e-12"),
        Field("funding_24h", "int64", "mean of the hours' last rates over 24 hours, in 1e-12"),
        Field("funding_7d", "int64", "mean of the hours' last rates over 7 days, in 1e-12"),
        Field("next_funding_time", "int64", "when it is paid", "ns"),
        Field("funding_interval_s", "uint32", "length of a funding interval in seconds"),
        Field("open_interest", "int64", "open interest, in base units or contracts", "quantity"),
        Field("open_interest_change", "int64", "against 23 to 25 hours ago", "quantity"),
        Field("open_interest_change_ratio", "int64", "the same over what it was, in 1e-9"),
        Field("last_price", "int64", "price of the last trade; mark price before one", "price"),
        Field("price_change", "int64", "against the same time ago as open interest", "price"),
        Field("price_change_ratio", "int64", "the same over what it was, in 1e-9"),
        Field("volume", "int128", "traded in 24 hours, in base units or contracts", "quantity"),
        Field("fields", "uint16", "which values are known, by the bits of kind derivative"),
        Field("funding_signal", "uint8", "what the funding rate says", enum="FundingSignal"),
        Field("interest_signal", "uint8", "what open interest says", enum="InterestSignal"),
        Field("flags", "uint16", "what else is known of it", enum="DerivativeFlag"),
    ),
)
