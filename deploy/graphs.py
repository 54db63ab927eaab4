"""Which processors run together: one graph that is fused, or one graph each."""

from tidemill.deploy.settings import GraphLayout
from tidemill.processors.catalog import PROCESSORS
from tidemill.streams.runtime.graph import Graph


def graphs(layout: GraphLayout) -> dict[str, Graph]:
    """Return the graphs of a layout by name."""
    if layout == "fused":
        return {"main": Graph("main", PROCESSORS)}
    found = {}
    for processor in PROCESSORS:
        others = [other for other in PROCESSORS if other is not processor]
        found[processor.name] = Graph(processor.name, [processor], upstream=others)
    return found
