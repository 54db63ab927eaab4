"""`tidemill urls`: where the servers of a run listen, each URL with the role that it logs in as."""

from pathlib import Path

from tidemill.deploy.commands.output import Exit, answer
from tidemill.deploy.embedded.servers import found_on


async def urls(data_dir: Path, json: bool) -> Exit:
    """Print them, passwords and all: who can read the directory has those anyway.

    Raises Unavailable where no server runs there.
    """
    answer((await found_on(data_dir)).model_dump(), json)
    return Exit.HELD
