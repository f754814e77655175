"""How much of what one person does may be pushed to others."""

from batchpush import Limit, settings

DAY = 24 * 3600  # seconds
MAX_REQUESTS = 50  # of one person in a day


def of_person(user_id: str) -> tuple[Limit, ...]:
    """So many a minute in all, and so many to the same person: the usual limits."""
    return (
        Limit((user_id,), settings().max_pushes_per_sender),
        Limit((user_id,), settings().max_pushes_per_pair, each=True),
    )


def of_requests(user_id: str) -> tuple[Limit, ...]:
    """For what people send to those who do not know them: a few a day, and one to each."""
    return (
        Limit((user_id,), MAX_REQUESTS, seconds=DAY),
        Limit((user_id,), 1, seconds=DAY, each=True),
    )
