"""An archive in a bucket: the same over the S3 protocol, against a server that speaks it."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
from pyarrow import fs

from tidemill.schemas.errors import Unavailable
from tidemill.streams.archive import segment
from tidemill.streams.archive.archived_log import ArchivedLog
from tidemill.streams.archive.archiver import Archiver, Limits
from tidemill.streams.archive.manifest import open_archive
from tidemill.streams.archive.store import Store
from tidemill.streams.archive.trimmer import Keep, Reading, trim
from tidemill.tests.streams.archive import logs

pytestmark = pytest.mark.integration
FACTS = 3_000
SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
server.start()
print("%s:%d" % server.get_host_and_port(), flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """Address of an S3 server of our own, told by itself."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stdin is not None
        lines = iter(process.stdout.readline, "")
        yield next(line.strip() for line in lines if line.startswith("127.0.0.1:"))
        process.stdin.close()


@pytest.fixture
def location(s3: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    bucket = fs.S3FileSystem(
        endpoint_override=s3, scheme="http", region="us-east-1", allow_bucket_creation=True
    )
    bucket.create_dir("tidemill")
    where = s3.replace(":", "%3A")
    return f"s3://tidemill/log?scheme=http&region=us-east-1&endpoint_override={where}"


async def test_a_log_sealed_into_a_bucket_and_trimmed_is_read_as_one(
    location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment, "GROUP_BYTES", 3_000)
    log = await logs.filled(FACTS)
    whole = await logs.everything(log)
    store = Store.at(location)
    await Archiver(log, store, Limits(segment_messages_max=500)).seal(FACTS)
    archive, newest = await open_archive(log, store)
    assert newest is not None and len(archive.names) == 6

    async def slowest() -> Reading:
        return Reading(2_600, "a reader")

    assert (await trim(log, store, Keep(), slowest, 0.0)).first == 2_501
    assert (await logs.everything(ArchivedLog(log, location)))[:FACTS] == whole
    trades = [m for m in whole if m.subject == "md.trade.BINANCE.BTCUSDT.07"]
    assert await logs.everything(ArchivedLog(log, location), 1, (trades[0].subject,)) == trades


async def test_an_upload_that_was_not_finished_is_no_file(location: str) -> None:
    store = Store.at(location)
    before = store.names()
    with store.write("half") as out:
        out.write(b"half of it")
    assert store.names() == before
    store.clear_unfinished()
    assert store.names() == before


def test_a_bucket_that_is_away_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    gone = "s3://tidemill/log?scheme=http&region=us-east-1&endpoint_override=127.0.0.1%3A1"
    with pytest.raises(Unavailable, match="archive"):
        Store.at(gone)
