"""LOG purged, made anew, emptied or put back under an engine: it says so, and writes nothing."""

from pathlib import Path
from random import Random

import pytest

from tidemill.tests.faults.apart.log_faults import WAYS, play

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


@pytest.mark.parametrize("way", WAYS)
async def test_readers_of_a_log_that_regressed_end_and_say_what_to_do(
    tmp_path: Path, way: str
) -> None:
    (found,) = [hurt async for hurt in play(tmp_path, Random(5), [way])]
    assert found.why == (), found.what
