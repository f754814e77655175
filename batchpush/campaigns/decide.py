"""What a campaign should be in each app, and the request that the next step needs. Pure."""

from collections.abc import Callable, Sequence
from datetime import datetime
from urllib.parse import quote

from batchpush.batch_api.outcome import Reply, is_success
from batchpush.batch_api.requests import Request
from batchpush.campaigns.state import Desired, Publication, Step, is_token
from batchpush.documents import Document, storable
from batchpush.logs import reason_of
from batchpush.pushes.campaign import Campaign

CampaignHandler = Callable[[Document], Campaign | None]

LIST_PAGE = 100  # rows per page of Batch's list, its maximum. official: campaigns/list


def desired_states(
    document: Document | None,
    version: str,
    handler: CampaignHandler,
    apps: Sequence[str],
    now: datetime,
) -> dict[str, Desired]:
    """The desired state of each app; `document` is None if it is deleted."""
    try:
        campaign = handler(document) if document is not None else None
        bodies = campaign.bodies(apps) if campaign else {}
    except Exception as error:  # noqa: BLE001 - a retry cannot fix a handler's bug
        return dict.fromkeys(apps, Desired(version, problem=storable(reason_of(error)[:1000])))
    due = campaign.due(now) if campaign else None
    return {app: Desired(version, bodies.get(app), due) for app in apps}


def request_for(step: Step, publication: Publication, desired: Desired) -> Request:
    """The request of a step that changes a campaign at Batch."""
    if step is Step.CREATE:
        return Request("POST", "campaigns/create", _has_campaign_token, desired.body)
    assert publication.campaign_token is not None
    token = quote(publication.campaign_token, safe="")
    body = desired.body if step is Step.UPDATE else None
    return Request("POST", f"campaigns/{step.value}/{token}", is_success, body)


def list_request(page: int) -> Request:
    """The request for one page of Batch's list, newest first."""
    route = f"campaigns/list?from_api=true&limit={LIST_PAGE}&from={page * LIST_PAGE}"
    return Request("GET", route, lambda reply: reply.is_success and reply.rows() is not None)


def _has_campaign_token(reply: Reply) -> bool:
    return reply.is_success and is_token(reply.json().get("campaign_token"))
