from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from batchpush import InvalidDocument, Push
from batchpush.documents import Reference
from handlers.orders import order_delivered
from tests.events import Stored, changed
from tests.pushes import only_body, sent

SENT = {"status": "sent", "customer_id": "ann", "number": "B-77"}
DELIVERED = SENT | {"status": "delivered"}
NOON = datetime(2026, 5, 4, 12, 5, tzinfo=UTC)


async def pushed(before: Any, after: Any, **profile: Any) -> Push | None:
    order = changed("orders/o1", before, after, order_id="o1")
    return sent(await order_delivered(order, Stored({"users/ann": profile})))


async def test_the_customer_reads_that_it_has_arrived() -> None:
    push = await pushed(SENT, DELIVERED)
    assert only_body(push) == {
        "group_id": "order_delivered",
        "recipients": {"custom_ids": ["ann"]},
        "message": {"title": "Order delivered", "body": "Your order B-77 has arrived"},
        "deeplink": "myapp://orders/o1",
        "gcm_collapse_key": {"key": "order-o1", "enabled": True},
        "priority": "high",
    }
    assert push is not None
    assert push.fresh_for == timedelta(hours=6)


@pytest.mark.parametrize(
    ("order", "profile", "body"),
    [
        ({"number": None}, {}, "Your order o1 has arrived"),
        ({"number": 77}, {}, "Your order 77 has arrived"),
        ({"number": 1042.0}, {}, "Your order 1042 has arrived"),
        ({"number": " \u200b\n"}, {}, "Your order o1 has arrived"),
        ({"customer_id": Reference("users/ann")}, {}, "Your order B-77 has arrived"),
        (
            {"delivered_at": 1777896300, "time_zone": " europe/madrid "},
            {"language": "es_MX.UTF-8"},
            "Tu pedido B-77 ha llegado: lun, 4 may, 14:05 CEST",
        ),
        ({}, {"language": "de"}, "Ihre Bestellung B-77 ist angekommen"),
        (
            {"delivered_at": NOON},
            {"language": "fr", "time_zone": "Europe/Paris"},
            "Votre commande B-77 est arrivée le lun. 4 mai à 14:05 CEST",
        ),
        (
            {"delivered_at": 1777896300000, "time_zone": "Europe/Madrid"},
            {"language": "es", "time_zone": "Mars/Olympus"},
            "Tu pedido B-77 ha llegado: lun, 4 may, 14:05 CEST",
        ),
        (
            {"delivered_at": "2026-05-04T14:05:00+02:00"},
            {"language": "de"},
            "Ihre Bestellung B-77 wurde am Mo., 4. Mai um 12:05 UTC zugestellt",
        ),
    ],
)
async def test_what_is_said_with_what_is_known(order: Any, profile: Any, body: str) -> None:
    push = await pushed(SENT, DELIVERED | order, **profile)
    assert only_body(push)["message"]["body"] == body


@pytest.mark.parametrize("blank", [None, "", "  ", "\u200b"])
@pytest.mark.parametrize("field", ["number", "delivered_at", "time_zone"])
async def test_a_blank_field_counts_as_absent(field: str, blank: Any) -> None:
    push = await pushed(SENT, DELIVERED | {field: blank})
    without = {name: value for name, value in DELIVERED.items() if name != field}
    assert only_body(push) == only_body(await pushed(SENT, without))


@pytest.mark.parametrize(
    ("delivered_at", "is_told"),
    [
        (NOON - timedelta(days=2), True),  # 46 hours before the event
        (NOON - timedelta(days=2, hours=2), False),
        ("2019-06-01T00:00:00Z", False),
    ],
)
async def test_what_was_delivered_long_ago_is_history(delivered_at: Any, is_told: bool) -> None:
    push = await pushed(SENT, DELIVERED | {"delivered_at": delivered_at})
    assert (push is not None) is is_told


@pytest.mark.parametrize("before", [None, {}, SENT, SENT | {"status": 5}])
async def test_becoming_delivered_is_a_push_even_for_one_who_muted_them(before: Any) -> None:
    assert await pushed(before, DELIVERED, push_muted=True) is not None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (DELIVERED, DELIVERED),
        (DELIVERED, DELIVERED | {"number": "B-78", "delivered_at": NOON}),
        (DELIVERED, SENT),
        (SENT, SENT | {"number": "B-78"}),
        (SENT, SENT | {"status": "Delivered"}),
        (SENT, {}),
        (None, SENT),
        (DELIVERED, None),
        (SENT, None),
    ],
)
async def test_no_other_write_is(before: Any, after: Any) -> None:
    assert await pushed(before, after) is None


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"status": 5}, "orders/o1: status must be a string, not a number"),
        ({"customer_id": None}, "orders/o1: customer_id is missing"),
        ({"customer_id": "a/b"}, "orders/o1: customer_id is not a document id"),
        (
            {"customer_id": Reference("teams/1")},
            "orders/o1: customer_id is a reference to a document outside users/",
        ),
        ({"number": Reference("users/ann")}, "orders/o1: number must be a string, not a reference"),
        ({"delivered_at": 0}, "orders/o1: delivered_at is not .*: a number must be seconds or"),
        ({"number": 1042.5}, "orders/o1: number must be a string, or a whole number"),
        ({"number": ["B-77"]}, "orders/o1: number must be a string, not a list"),
        ({"delivered_at": "today"}, "orders/o1: delivered_at is not a date and time"),
        ({"time_zone": "Mars/Olympus"}, "orders/o1: time_zone is not the name of a time zone"),
    ],
)
async def test_a_malformed_order_is_named_with_its_field(fields: Any, error: str) -> None:
    with pytest.raises(InvalidDocument, match=error):
        await pushed(SENT, DELIVERED | fields)
