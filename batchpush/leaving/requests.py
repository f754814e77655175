"""The requests of Batch's GDPR API, version 1.0. Pure.

The routes, and that a request has a `request_type`, are in Batch's documentation. The rest of the
body of a creation is not in what we could read: that `id` has the shape of Batch's list of requests
is inferred, and so is the `request_id` of its reply.
"""

import json
from urllib.parse import quote

from batchpush.batch_api.outcome import Reply, is_success
from batchpush.batch_api.requests import Request


def removal_request(custom_id: str) -> Request:
    """The request that Batch forgets whoever has this id in the app."""
    body = {"request_type": "remove", "id": {"type": "custom_id", "value": custom_id}}
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return Request("POST", "gdpr/request", is_success, text.encode())


def status_request(request_id: str) -> Request:
    """The request for where another one stands."""
    return Request("GET", f"gdpr/request/{quote(request_id, safe='')}", _has_status)


def _has_status(reply: Reply) -> bool:
    return reply.is_success and "status" in reply.json()
