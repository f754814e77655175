"""Credit limits.

An account has the amounts `spent` and `credit_limit`; it may have their `currency` (ISO 4217).
"""

from batchpush import Change, CollapseKey, Document, LookUp, NoPush, Push
from handlers.fields import currency, needed, number
from handlers.formats import money
from handlers.links import deeplink
from handlers.people import people, recipients
from handlers.texts import say


async def credit_limit(account: Change, look_up: LookUp) -> Push | NoPush | None:
    """Tells the owner that their account has reached its limit."""
    if not account.became(_is_at_its_limit):
        return None
    document, user_id = account.document, account.params["user_id"]
    spent = needed(number, document, "spent")
    limit = needed(number, document, "credit_limit")
    unit = currency(document, "currency")
    (owner,) = await people(look_up, user_id)
    if why := owner.why_not_told("credit_limit"):
        return NoPush({why: [user_id]})
    return Push(
        group_id="credit_limit",
        recipients=recipients([owner], "credit_limit"),
        message=say(
            "credit_limit",
            owner.language,
            spent=money(spent, unit, owner.language),
            limit=money(limit, unit, owner.language),
        ),
        deeplink=deeplink("accounts", user_id),
        gcm_collapse_key=CollapseKey(f"credit-limit-{user_id}"),
        state=user_id,
    )


def _is_at_its_limit(account: Document) -> bool:
    """Whether there is a limit, above 0, and it is reached."""
    spent, limit = number(account, "spent"), number(account, "credit_limit")
    return spent is not None and limit is not None and spent >= limit > 0
