"""What is unusual, each bar worked out anew from its window in plain Python."""

import math
from itertools import pairwise
from statistics import median

from tidemill.tests.processors.kernels.klines import Columns

Series = list[float]
NAN = math.nan
MASK = (1 << 64) - 1


def robust(values: Series, length: int) -> tuple[Series, ...]:
    """z, median and deviation of the last of every `length` values."""
    found: list[tuple[float, float, float]] = []
    for end in range(1, len(values) + 1):
        window = values[end - length : end] if end >= length else []
        if not window:
            found.append((NAN, NAN, NAN))
            continue
        middle = median(window)
        apart = [abs(value - middle) for value in window]
        deviation = median(apart) / 0.6744897501960817
        if deviation == 0:
            deviation = math.fsum(apart) / length * math.sqrt(math.pi / 2)
        z = (values[end - 1] - middle) / deviation if deviation else 0.0
        found.append((z, middle, deviation))
    return tuple(map(list, zip(*found, strict=True)))


def changes(closes: Series) -> Series:
    return [b / a - 1 if a else 0.0 for a, b in pairwise(closes)]


def return_z(bars: Columns, length: int) -> tuple[Series, ...]:
    found = robust(changes(bars["close"].tolist()), length)
    return tuple([NAN, *one] for one in found)


def volume_z(bars: Columns, length: int) -> tuple[Series, ...]:
    return robust(bars["volume"].tolist(), length)


def ranges(bars: Columns) -> Series:
    columns = (bars[name].tolist() for name in ("high", "low", "close"))
    return [(high - low) / close for high, low, close in zip(*columns, strict=True)]


def range_z(bars: Columns, length: int) -> tuple[Series, ...]:
    return robust(ranges(bars), length)


def pump_and_dump(bars: Columns, length: int) -> tuple[Series, ...]:
    closes, volumes = bars["close"].tolist(), bars["volume"].tolist()
    found: list[Series] = []
    for k, close in enumerate(closes):
        if k < length:
            found.append([NAN] * 5)
            continue
        window = closes[k - length : k + 1]
        usual, peak = math.fsum(volumes[k - length : k]) / length, max(window)
        more = 100 * (volumes[k] / usual - 1) if usual else math.inf * (volumes[k] > 0 or -1)
        volume = max([p for b, p in ((100, 15), (200, 20), (300, 25), (500, 30)) if more > b] + [0])
        rise = 100 * (peak / window[0] - 1)
        price = max([p for b, p in ((10, 15), (20, 20), (30, 25), (50, 30)) if rise > b] + [0])
        rapid = min(10 * max(*changes(window), 0) * 100, 100) / 5
        kept = 100 * (close - window[0]) / (peak - window[0]) if price else 100
        lost = (100 - max(kept, 0)) / 5
        found.append([volume + price + rapid + lost, volume, price, rapid, lost])
    return tuple(map(list, zip(*found, strict=True)))


def _bits(*parts: int) -> int:
    x = 0
    for part in parts:
        x = ((x ^ part) + 0x9E3779B97F4A7C15) & MASK
        x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & MASK
        x = ((x ^ x >> 27) * 0x94D049BB133111EB) & MASK
        x ^= x >> 31
    return x


class Node:
    """A node of a half-space tree: a box of the space, cut in half along one of its sides."""

    def __init__(self, seed: int, tree: int, number: int, box: list[tuple[float, float]]) -> None:
        self.before = self.now = 0
        self.below: list[Node] = []
        if number < 64:
            self.side = _bits(seed, tree, number) % 3
            low, high = box[self.side]
            self.cut = (low + high) / 2
            for more, half in enumerate(((low, self.cut), (self.cut, high))):
                inner = [*box[: self.side], half, *box[self.side + 1 :]]
                self.below.append(Node(seed, tree, 2 * number + more, inner))

    def path(self, point: Series) -> "list[Node]":
        below = self.below[point[self.side] >= self.cut].path(point) if self.below else []
        return [self, *below]

    def turn(self) -> None:
        self.before, self.now = self.now, 0
        for node in self.below:
            node.turn()


def _tree(seed: int, tree: int) -> Node:
    box = []
    for side in range(3):
        s = (_bits(seed, tree, 128 + side) >> 11) / 2**53
        reach = 2 * max(s, 1 - s)
        box.append((s - reach, s + reach))
    return Node(seed, tree, 1, box)


def _points(bars: Columns, window: int) -> list[Series]:
    """Each bar's change, volume and range, beside their exponential means before it."""
    moves = [0.0, *changes(bars["close"].tolist())]
    found, means = [], []
    rows = zip(moves, bars["volume"].tolist(), ranges(bars), strict=True)
    for move, volume, wide in rows:
        now = [abs(move), volume, wide]
        means = means or list(now)
        shares = [x / (x + m) if x + m else 0.5 for x, m in zip(now, means, strict=True)]
        shares[0] = 0.5 + math.copysign(shares[0] / 2, move) if move else 0.5
        found.append(shares)
        means = [m + (x - m) * 2 / (window + 1) for x, m in zip(now, means, strict=True)]
    return found


def half_space_trees(
    bars: Columns, trees: int = 8, window: int = 250, seed: int = 1
) -> tuple[Series, Series]:
    forest = [_tree(seed, tree) for tree in range(trees)]
    scores, densities = [], []
    for k, point in enumerate(_points(bars, window)):
        paths = [tree.path(point) for tree in forest]
        met = 0.0
        for path in paths:
            ends = [d for d, node in enumerate(path) if node.before < 0.1 * window or d == 6]
            met += path[ends[0]].before * 2.0 ** ends[0]
            for node in path:
                node.now += 1
        densities.append(met / trees / window if k >= window else NAN)
        scores.append(1 - densities[-1] / 64)
        if (k + 1) % window == 0:
            for tree in forest:
                tree.turn()
    return scores, densities
