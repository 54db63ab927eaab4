"""No step can depend on a clock, on chance, on the order of a set or on how sums are split."""

from pathlib import Path

import pytest

import tidemill.schemas
from tidemill.tests.processors import determinism
from tidemill.tests.processors.determinism import Finding, found, in_tree

ROOT = Path(tidemill.schemas.__file__).resolve().parents[1]
PURE = (
    "schemas",
    "processors",
    *(
        f"streams/runtime/{name}.py"
        for name in ("control", "cuts", "engine", "graph", "intake", "keys", "order", "outputs")
    ),
)
"""What decides what a replay gives: schemas, processors with their kernels, and the engine."""

EXCEPTIONS = {
    ("schemas/book.py", "unordered reduction", "return int(self._ends[:, 1].sum())"): (
        "a sum of two int64 counts: integers have one sum in any order"
    ),
}
"""(file, rule, line) to the reason why it is none."""

BREAKS = {
    "clock": ["import time", "from datetime import datetime", "from time import monotonic"],
    "chance": ["import random", "import uuid", "x = np.random.rand()",
               "from numpy.random import x"],
    "environment": ["import os", "from os import environ", "import platform"],
    "threads": ["import threading", "from concurrent.futures import ThreadPoolExecutor",
                "import asyncio"],
    "input or output": ["import socket", "x = open('a')", "print(1)"],
    "identity or hash": ["x = hash('a')", "x = id(y)", "x = sorted(a, key=id(b))"],
    "order of a namespace": ["x = list(vars(y))", "for k in globals(): pass"],
    "order of a folder": ["x = list(path.glob('*'))", "for p in path.iterdir(): pass"],
    "order of a set": [
        "for x in {1, 2}: pass",
        "for x in set(a): pass",
        "a = set(b)\nfor x in a: pass",
        "a = frozenset(b) | c\ny = [x for x in a]",
        "def f(a: set[str]):\n    return list(a)",
        "def f(a: frozenset[str]):\n    return {k: 1 for k in a}",
        "class A:\n    def __init__(self, b):\n        self.b = set(b)\n"
        "    def f(self):\n        return tuple(self.b)",
        "class A:\n    b: set[int]\n    def f(self):\n        for x in self.b: pass",
        "x = {k: a[k] for k in a.keys() & b.keys()}",
        "x = {**a, **{k: 1 for k in set(b)}}",
        "x = dict.fromkeys(set(a))",
        "x = ','.join({str(y) for y in a})",
        "x = [*set(a)]",
        "a = set(b)\nx = a.pop()",
        "x = np.array(list({1, 2}))",
        "x = sum({0.1, 0.2})",
        "x = next(iter(set(a)))",
        "a = {1} if b else set()\nfor x in a: pass",
        "x = d.popitem()",
    ],
    "unordered reduction": [
        "x = np.sum(a)", "x = a.sum()", "x = np.add.reduce(a)", "x = a.mean(axis=0)",
        "x = np.dot(a, b)", "x = a @ b", "x = np.einsum('i,i', a, b)", "x = a.std()",
    ],
    "parallel loop": [
        "from numba import prange", "@njit(parallel=True)\ndef f(): pass",
        "for x in numba.prange(3): pass", "@njit(parallel=A)\ndef f(): pass",
    ],
    "fast mathematics": [
        "@njit(fastmath=True)\ndef f(): pass", "@njit(fastmath={'nnan'})\ndef f(): pass",
    ],
    "transcendental": ["x = np.log(a)", "x = math.exp(a)", "from math import pow",
                       "x = np.power(a, 0.5)"],
}  # fmt: skip
"""Rule to samples that break it."""

ALLOWED = [
    "x = sorted({1, 2})",
    "x = sorted(k for k in set(a))",
    "x = len(set(a)) == 3 and y in {1, 2}",
    "x = any(k in b for k in set(a))",
    "a = set(b)\na.add(3)\nx = frozenset(a)",
    "x = {k for k in set(a)}",
    "x = max({1, 2})",
    "for x in {'a': 1, 'b': 2}: pass",
    "x = {**a, **b}",
    "x = sum(a)",
    "x = np.cumsum(a)",
    "x = math.sqrt(a) + np.sqrt(b)",
    "@njit(cache=True, fastmath=False)\ndef f(): pass",
    "x = list(a.values())",
    "x = a.pop()",
]


@pytest.mark.parametrize(
    ("rule", "sample"), [(rule, sample) for rule, samples in BREAKS.items() for sample in samples]
)
def test_each_rule_catches_what_breaks_it(rule: str, sample: str) -> None:
    assert rule in {finding.rule for finding in found(sample)}


@pytest.mark.parametrize("sample", ALLOWED)
def test_what_shows_no_order_is_allowed(sample: str) -> None:
    assert found(sample) == []


def test_every_rule_of_the_guard_has_a_sample() -> None:
    source = Path(determinism.__file__).read_text()
    assert determinism.FORBIDDEN_MODULES.keys() <= BREAKS.keys()
    assert all(f'"{rule}"' in source for rule in BREAKS)


def test_schemas_processors_and_the_engine_are_clean_but_for_what_is_justified() -> None:
    findings = in_tree(ROOT, PURE)
    unjustified = [finding for finding in findings if finding.place not in EXCEPTIONS]
    assert unjustified == [], "\n".join(map(_said, unjustified))


def test_no_exception_outlives_what_it_excuses() -> None:
    assert EXCEPTIONS.keys() <= {finding.place for finding in in_tree(ROOT, PURE)}
    assert all(reason for reason in EXCEPTIONS.values())


def _said(finding: Finding) -> str:
    return f"{finding.path}:{finding.line}: {finding.rule}: {finding.text}"
