"""The Batch in memory, as tests put it in the place of the line to Batch."""

import httpx
import pytest

from batchpush.batch_api.outcome import Outcome, Reply, classify
from batchpush.environment import settings
from batchpush.testing.batch import Batch, Call
from tests.deliveries import REST_KEY, client_for


async def test_every_call_is_accepted_and_remembered() -> None:
    batch = Batch()
    client = client_for(settings(), batch)
    first = await client.send("ios", b'{"group_id": "g"}')
    second = await client.send("android", b'{"group_id": "h"}')
    assert [classify(each).outcome for each in (first, second)] == [Outcome.ACCEPTED] * 2
    assert first.json() != second.json()
    assert batch.calls == [
        Call("IOSKEY", "POST", "transactional/send", {"group_id": "g"}, 201),
        Call("ANDROIDKEY", "POST", "transactional/send", {"group_id": "h"}, 201),
    ]
    await client.aclose()


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (httpx.Response(400, json={"message": "no"}), Outcome.REFUSED),
        (httpx.Response(503), Outcome.NOT_SENT),
        (httpx.Response(502), Outcome.UNKNOWN),
        (httpx.ConnectError("down"), Outcome.NOT_SENT),
        (httpx.ConnectTimeout("down"), Outcome.NOT_SENT),
        (httpx.ReadTimeout("late"), Outcome.UNKNOWN),
        (httpx.RemoteProtocolError(f"cut after {REST_KEY}"), Outcome.UNKNOWN),
        (ConnectionResetError("cut"), Outcome.UNKNOWN),
        (TimeoutError(), Outcome.UNKNOWN),
    ],
    ids=lambda value: str(value) if isinstance(value, httpx.Response) else type(value).__name__,
)
async def test_it_answers_as_it_is_told_and_then_accepts(
    answer: httpx.Response | Exception, outcome: Outcome
) -> None:
    batch = Batch()
    batch.answer_next(answer)
    client = client_for(settings(), batch)
    reply = await client.send("ios", b"{}")
    assert classify(reply).outcome is outcome
    assert REST_KEY not in repr(reply)
    assert (await client.send("ios", b"{}")).status == 201


async def test_what_batch_says_comes_with_the_time_that_it_asks_for() -> None:
    batch = Batch()
    batch.answer_next(httpx.Response(429, headers={"Retry-After": "7"}, content=b"slow"))
    reply = await client_for(settings(), batch).send("ios", b"{}")
    assert reply == Reply(429, b"slow", "7")
