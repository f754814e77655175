import asyncio
import html
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from urllib.parse import quote, unquote

import pytest

import batchpush.batch_api.line
from batchpush.batch_api.client import BatchClient
from batchpush.batch_api.outcome import Outcome, classify
from batchpush.batch_api.rest_key import RestKey, RestKeyCache
from batchpush.environment import Settings
from batchpush.errors import RestKeyUnavailable
from batchpush.pushes.push import Message, Push, Recipients
from batchpush.timing import Timing
from emulators import batch

APPS = {"ios": "IOSKEY", "android": "ANDROIDKEY"}


PUSH = Push(group_id="g", recipients=Recipients(custom_ids=["ann"]), message=Message("Hello"))
BODY = next(PUSH.calls(("ios",))).body


TIMING = Timing(call=1.0)


class Keys:
    """The keys that Secret Manager would give, one after the other."""

    def __init__(self, *values: str) -> None:
        self.values = list(values)
        self.now = 0.0
        self.reads = 0
        self.was_read = asyncio.Event()
        self.cache = RestKeyCache(self.read, clock=lambda: self.now)

    async def read(self) -> RestKey:
        self.reads += 1
        self.was_read.set()
        if not self.values:
            raise RestKeyUnavailable("none")
        return RestKey(self.values.pop(0) if len(self.values) > 1 else self.values[0])


@pytest.fixture
def api() -> Iterator[batch.Batch]:
    with batch.running(apps=APPS, rest_keys=["key-1"]) as api:
        yield api


def client_for(url: str, keys: Keys) -> BatchClient:
    apps = ",".join(f"{name}={key}" for name, key in APPS.items())
    settings = Settings.from_environment({"BATCH_APPS": apps, "BATCH_API_URL": url})
    return BatchClient(settings, TIMING, keys.cache)


@pytest.fixture
async def keys() -> Keys:
    return Keys("key-1")


@pytest.fixture
async def client(api: batch.Batch, keys: Keys) -> AsyncIterator[BatchClient]:
    client = client_for(api.url, keys)
    yield client
    await client.aclose()


async def test_a_call_is_one_post_to_the_apps_own_address(
    api: batch.Batch, client: BatchClient
) -> None:
    reply = await client.send("android", BODY)
    (seen,) = api.calls()
    assert (reply.status, classify(reply).outcome) == (201, Outcome.ACCEPTED)
    assert seen["method"] == "POST"
    assert seen["path"] == "/1.1/ANDROIDKEY/transactional/send"
    assert seen["headers"]["x-authorization"] == "key-1"
    assert seen["body"]["recipients"] == {"custom_ids": ["ann"]}


async def test_connections_are_kept_between_calls(api: batch.Batch, client: BatchClient) -> None:
    replies = [await client.send("ios", BODY) for _ in range(20)]
    assert {reply.status for reply in replies} == {201}


async def test_a_rotated_key_is_read_again_and_the_call_sent_once_more(
    api: batch.Batch, client: BatchClient, keys: Keys
) -> None:
    await client.send("ios", BODY)
    api.accept_rest_keys("key-2")
    keys.values, keys.now = ["key-2"], 60.0
    reply = await client.send("ios", BODY)
    assert reply.status == 201
    assert [seen["reply"]["status"] for seen in api.calls()] == [201, 401, 201]


async def test_a_refused_key_without_a_successor_is_tried_once(
    api: batch.Batch, client: BatchClient, keys: Keys
) -> None:
    api.accept_rest_keys("another")
    assert (await client.send("ios", BODY)).status == 401
    assert len(api.calls()) == 1


async def test_without_a_key_nothing_is_sent(
    api: batch.Batch, client: BatchClient, keys: Keys
) -> None:
    keys.values = []
    with pytest.raises(RestKeyUnavailable):
        await client.send("ios", BODY)
    assert api.calls() == []


async def test_a_worker_reads_the_key_before_the_first_call_asks_for_it(
    client: BatchClient, keys: Keys
) -> None:
    client.warm_up()
    async with asyncio.timeout(60):
        await keys.was_read.wait()
    assert (await client.send("ios", BODY)).status == 201
    client.warm_up()
    assert keys.reads == 1


async def test_a_key_that_cannot_be_had_yet_fails_the_call_and_nothing_before_it(
    client: BatchClient, keys: Keys
) -> None:
    good, keys.values = keys.values, []
    client.warm_up()
    with pytest.raises(RestKeyUnavailable):
        await client.send("ios", BODY)
    keys.values = good
    assert (await client.send("ios", BODY)).status == 201


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ({"status": 400}, Outcome.REFUSED),
        ({"status": 403}, Outcome.REFUSED),
        ({"status": 404}, Outcome.REFUSED),
        ({"status": 429}, Outcome.NOT_SENT),
        ({"status": 500}, Outcome.NOT_SENT),
        ({"status": 503}, Outcome.NOT_SENT),
        ({"status": 500, "body": "<html>oops</html>"}, Outcome.UNKNOWN),
        ({"status": 502}, Outcome.UNKNOWN),
        ({"status": 504}, Outcome.UNKNOWN),
        ({"status": 307, "headers": {"Location": "/elsewhere"}}, Outcome.UNKNOWN),
        ({"reset": True}, Outcome.UNKNOWN),
        ({"reset": True, "accept": True}, Outcome.UNKNOWN),
        ({"cut": True}, Outcome.UNKNOWN),
        ({"hang": True}, Outcome.UNKNOWN),
        ({"drip": 0.2}, Outcome.UNKNOWN),
        ({"delay": 0.1}, Outcome.ACCEPTED),
    ],
)
async def test_whatever_happens_on_the_line_is_a_reply_within_the_deadline(
    api: batch.Batch,
    client: BatchClient,
    fault: dict[str, object],
    outcome: Outcome,
) -> None:
    api.fault(**fault)
    started = time.monotonic()
    reply = await client.send("ios", BODY)
    assert classify(reply).outcome is outcome
    assert time.monotonic() - started < 2.0
    assert len(api.calls()) == 1
    assert "key-1" not in repr(reply)


async def test_a_server_that_is_not_there_was_sent_nothing(keys: Keys) -> None:
    client = client_for("http://127.0.0.1:9", keys)
    reply = await client.send("ios", BODY)
    assert classify(reply).outcome is Outcome.NOT_SENT
    assert reply.problem == "ClientConnectorError"
    await client.aclose()


async def test_an_answer_that_never_ends_is_read_to_a_limit(
    api: batch.Batch, client: BatchClient
) -> None:
    api.fault(status=400, body="x" * 1_000_000)
    reply = await client.send("ios", BODY)
    assert len(reply.body) == batchpush.batch_api.line.MAX_REPLY


KEY = "5f2c9d1e0a7b4c3d/8e6f5a4b3c2d1e0f=="


def spelled(key: str, spell: Callable[[str], str]) -> str:
    return "".join(map(spell, key))


@pytest.mark.parametrize(
    "message",
    [
        KEY,
        KEY.replace("/", "\\/"),
        spelled(KEY, lambda c: f"\\u{ord(c):04x}"),
        spelled(KEY, lambda c: f"\\u{ord(c):04X}" if c in "5f" else c),
        quote(KEY, safe=""),
        spelled(KEY, lambda c: f"%{ord(c):02x}"),
        spelled(KEY, lambda c: f"&#{ord(c)};"),
        spelled(KEY, lambda c: f"&#x{ord(c):x};"),
        spelled(KEY, lambda c: f"\\u0025{ord(c):02x}"),
        spelled(KEY, lambda c: f"\\\\u{ord(c):04x}"),
    ],
)
@pytest.mark.parametrize(
    "body",
    [
        '{{"code": 10, "type": "AUTHENTICATION_INVALID", "message": "no key {}"}}',
        '{{"code": 10, "{}": 1}}',
        '{{"code": 10, "errors": [{{"value": "{}"}}]}}',
        "<html>{}</html>",
        '{{"code": 10, "message": "{}',
    ],
)
async def test_no_answer_shows_the_key_however_it_is_spelled(
    api: batch.Batch, body: str, message: str
) -> None:
    client = client_for(api.url, Keys(KEY))
    # The emulator writes a text as it is given.
    api.fault(status=400, body=body.format(message), headers={"Retry-After": KEY})
    reply = await client.send("ios", BODY)
    await client.aclose()
    assert reply.status == 400
    for shown in (repr(reply), str(reply.json()), str(reply.said()), str(reply.retry_after)):
        assert "5f2c" not in plainest(shown)


@pytest.mark.parametrize(
    "length", [batchpush.batch_api.line.MAX_REPLY, batchpush.batch_api.line.MAX_REPLY - 500]
)
@pytest.mark.parametrize("key", [KEY, spelled(KEY, lambda c: f"\\u{ord(c):04x}")])
async def test_no_answer_ends_with_a_part_of_the_key(
    api: batch.Batch, length: int, key: str
) -> None:
    client = client_for(api.url, Keys(KEY))
    for shift in (0, 3, 10):
        filled = "x" * (length - shift)
        api.fault(status=400, body=filled + key * 1000)
        reply = await client.send("ios", BODY)
        assert "5f2c" not in plainest(repr(reply))
    await client.aclose()


async def test_of_a_list_more_is_read(api: batch.Batch, client: BatchClient) -> None:
    api.fault(status=400, body="x" * 100_000)
    reply = await client.request("ios", "GET", "campaigns/list")
    assert len(reply.body) == 100_000


def plainest(text: str) -> str:
    """What somebody with patience reads in it."""
    for _ in range(4):
        text = re.sub(r"\\+u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), text)
        text = html.unescape(unquote(text))
    return text


async def test_eighty_calls_at_once_all_arrive(api: batch.Batch, client: BatchClient) -> None:
    replies = await asyncio.gather(*(client.send("ios", BODY) for _ in range(80)))
    assert [reply.status for reply in replies] == [201] * 80
