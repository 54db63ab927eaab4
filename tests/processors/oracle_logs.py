"""Random logs of trades as bad days are: holes, fills, late and wrong trades, holds, reconnects."""

import random

from tidemill.schemas.enums import RecordFlag
from tidemill.schemas.events.feed import (
    FeedConnected,
    FeedDisconnected,
    RecordsGivenUp,
    TradeGapDeclared,
    TradeGapSuspected,
)
from tidemill.tests.processors.runs import MIDNIGHT, SECOND, Log, instruments

STEPS_NS = (0, 1, 10**6, 10**8, SECOND, 5 * SECOND, 70 * SECOND, 1_000 * SECOND, 20_000 * SECOND)


class BadDay:
    """Makes one log over `slots` instruments of two feeds; the seed decides everything."""

    def __init__(self, seed: int, slots: int = 3) -> None:
        self.random = random.Random(seed)
        self.log = Log(instruments(*({"feed": slot % 2, "pair": slot} for slot in range(slots))))
        self.now = MIDNIGHT - self.random.choice((2, 400, 20_000)) * SECOND
        self.next_id = [self.random.choice((1, 10**6, 2**63)) for _ in range(slots)]
        self.lost: list[list[int]] = [[] for _ in range(slots)]
        self.steps = self.random.choice((STEPS_NS[:4], STEPS_NS[:6], STEPS_NS))

    def make(self, facts: int) -> Log:
        """Add `facts` facts and return the log."""
        for _ in range(facts):
            self.now += self.random.choice(self.steps)
            slot = self.random.randrange(len(self.next_id))
            what = self.random.choices(
                (
                    self.trades,
                    self.fill,
                    self.status,
                    self.hold,
                    self.declare,
                    self.suspect,
                    self.link,
                    self.drop,
                ),
                (12, 2, 4, 1, 1, 0.5, 1, 0.3),
            )[0]
            what(slot)
        return self.log

    def row(self, trade_id: int, ts: int) -> tuple[int, ...]:
        price = self.random.randint(-5, 200) * 10**8
        quantity = self.random.randint(0, 10**9)
        if self.random.random() < 0.01:
            quantity = -1
        recv = ts - 2 * 3_600 * SECOND if self.random.random() < 0.01 else ts
        flags = RecordFlag.AGGREGATE if self.random.random() < 0.1 else RecordFlag.NONE
        return trade_id, ts, price, quantity, self.random.randrange(3), recv, int(flags)

    def trades(self, slot: int) -> None:
        rows = []
        for _ in range(self.random.choice((1, 1, 2, 5, 20))):
            self.now += self.random.choice(self.steps[:4])
            if self.random.random() < 0.06:
                missed = self.random.randint(1, 3)
                self.lost[slot] += range(self.next_id[slot], self.next_id[slot] + missed)
                self.next_id[slot] += missed
            early = self.random.choice((0,) * 20 + (10**8, 3 * SECOND, 90 * SECOND, 4_000 * SECOND))
            rows.append(self.row(self.next_id[slot], self.now - early))
            self.next_id[slot] += 1
        self.log.trades(slot, *rows)

    def fill(self, slot: int) -> None:
        count = self.random.randint(1, 4)
        ids, self.lost[slot] = self.lost[slot][:count], self.lost[slot][count:]
        late = self.random.choice((0, SECOND, 100 * SECOND))
        if ids:
            self.log.trades(slot, *(self.row(trade_id, self.now - late) for trade_id in ids))

    def status(self, slot: int) -> None:
        ahead = self.random.choice((0, 0, SECOND, 8 * SECOND, -3 * SECOND))
        hold = int(self.random.random() < 0.2)
        self.log.status(self.now + ahead, hold, feed=slot % 2)

    def hold(self, slot: int) -> None:
        self.log.status(self.now, self.random.randrange(2), slot=slot)

    def declare(self, slot: int) -> None:
        first = self.lost[slot][0] if self.lost[slot] else self.next_id[slot]
        last = first + self.random.randint(0, 3)
        self.lost[slot] = [trade_id for trade_id in self.lost[slot] if trade_id > last]
        ts_from = self.now - self.random.choice((0, 2 * SECOND, 100 * SECOND))
        self.log.event(
            TradeGapDeclared(
                venue="BINANCE", symbol="X", first_id=first, last_id=last, ts_from=ts_from,
                ts_to=self.now + self.random.choice((0, SECOND)), ts_recv=self.now, reason="lost",
            ),
            slot=slot,
        )  # fmt: skip

    def suspect(self, slot: int) -> None:
        ts_from = self.now - self.random.choice((0, 2 * SECOND, 100 * SECOND))
        self.log.event(
            TradeGapSuspected(
                venue="BINANCE", symbol="X", ts_from=ts_from, ts_recv=self.now,
                ts_to=self.now + self.random.choice((0, SECOND)), reason="RECONNECTED",
            ),
            slot=slot,
        )  # fmt: skip

    def link(self, slot: int) -> None:
        names = {"venue": "BINANCE", "product": "SPOT", "connection": 1, "ts_recv": self.now}
        if self.random.random() < 0.5:
            self.log.event(FeedConnected.model_validate(names), feed=slot % 2)
        else:
            names["reason"] = "closed"
            self.log.event(FeedDisconnected.model_validate(names), feed=slot % 2)

    def drop(self, slot: int) -> None:
        self.log.event(
            RecordsGivenUp(
                venue="BINANCE", product="SPOT", records=1, ts_to=self.now,
                ts_from=self.now - self.random.choice((1, 4_000)) * SECOND, reason="slow",
            ),
            feed=slot % 2,
        )  # fmt: skip
