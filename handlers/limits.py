"""Limits on the pushes that one person may cause."""

from batchpush import Limit, settings

DAY = 24 * 3600  # seconds
MAX_REQUESTS = 50  # of one person in a day


def of_person(user_id: str) -> tuple[Limit, ...]:
    """The usual limits per minute: in total, and to the same person."""
    return (
        Limit((user_id,), settings().max_pushes_per_sender),
        Limit((user_id,), settings().max_pushes_per_pair, each=True),
    )


def of_requests(user_id: str) -> tuple[Limit, ...]:
    """Limits for requests to strangers: a few a day, and one to each person."""
    return (
        Limit((user_id,), MAX_REQUESTS, seconds=DAY),
        Limit((user_id,), 1, seconds=DAY, each=True),
    )
