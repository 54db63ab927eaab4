"""Why an anomaly is as it is: its detectors, what every bar before came of, its score's terms."""

from tidemill.deploy.why.deriving import Record
from tidemill.deploy.why.indicators import of_bars
from tidemill.deploy.why.reading import Context, Explained, check, events_shown, said
from tidemill.deploy.why.signals import of_market
from tidemill.processors.kernels.anomaly_plan import DETECTORS, FLASH_CRASH
from tidemill.schemas.enums import Severity
from tidemill.schemas.events.anomalies import AnomaliesDefined, AnomaliesRemoved
from tidemill.schemas.events.selection import selects


async def explain(context: Context, record: Record) -> Explained:
    """Return the set of detectors, and the instrument's trades, statuses and events up to the
    cause; of a flash crash its book's messages, too.

    The checks are that the set is in force and watches the instrument and its bars, that the score
    reaches the threshold where nothing was taken back, and that a score of points is the sum of its
    terms; the anomaly itself was derived from LOG again before.
    """
    row, name = record.raw, record.name
    sets = [
        (r, event)
        for r, event in await said(context, [f"ctl.anomalies.{name.spec}"])
        if isinstance(event, AnomaliesDefined | AnomaliesRemoved)
    ]
    newest = sets[-1][1] if sets else None
    watches = (
        isinstance(newest, AnomaliesDefined)
        and selects(newest.instruments, name.symbol, name.venue)
        and newest.bars == row["bars"]
    )
    detector = row["detector"].partition("(")[0]
    measured = abs(row["score"]) if DETECTORS[detector].either else row["score"]
    checks = [check("its detectors watch these bars", True, watches)]
    if row["severity"] != Severity.NONE:
        checks.append(check("its score reaches the threshold", True, measured >= row["threshold"]))
    if detector in TERMS:
        checks.append(check("score", sum(row[term] for term in TERMS[detector]), row["score"]))
    inputs = [events_shown("the detectors", sets, context), *await of_bars(context, record)]
    if detector == FLASH_CRASH:
        inputs += await of_market(context, record)
    return Explained(inputs, checks)


TERMS = {
    "pump_and_dump": ("volume_points", "price_points", "rapidity_points", "lost_points"),
    FLASH_CRASH: ("liquidation_points", "imbalance_points", "depth_points"),
}
"""Of detectors whose score is a sum: its terms, in the order in which they are added."""
