"""When: one function per watched path, each naming its handler.

The Firebase CLI reads this file to learn which functions there are; importing it opens no
connection and reads no secret.
"""

from batchpush import Change, deliver, document_created, every, sweep_deliveries, value_created
from handlers import friend_requests, messages


@document_created("conversations/{conversation_id}/messages/{message_id}")
async def new_message(change: Change) -> None:
    await deliver(change, messages.new_message)


@value_created("messages/{conversation_id}/{message_id}")
async def new_message_rtdb(change: Change) -> None:
    await deliver(change, messages.new_message)


@document_created("users/{user_id}/friend_requests/{sender_id}")
async def friend_request(change: Change) -> None:
    await deliver(change, friend_requests.friend_request)


@value_created("friend_requests/{user_id}/{sender_id}")
async def friend_request_rtdb(change: Change) -> None:
    await deliver(change, friend_requests.friend_request)


@every("every 10 minutes")
async def sweep() -> None:
    await sweep_deliveries()
