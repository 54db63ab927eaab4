"""``python -m tidemill.tests.schemas.golden_logs`` adds what is missing, and changes nothing."""

import asyncio
import sys

from tidemill.tests.schemas.golden_logs import add
from tidemill.tests.schemas.golden_logs.sources import all_sources

for name in asyncio.run(add(all_sources())):
    print(f"added {name}", file=sys.stderr)
