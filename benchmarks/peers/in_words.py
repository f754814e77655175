"""A chat message in the languages of its readers, for the peers in Python."""

import json
from collections.abc import Mapping
from typing import Any

TEXTS = {
    "en": ("New message", "📷 Sent you a picture"),
    "fr": ("Nouveau message", "📷 Vous a envoyé une photo"),
}


def bodies(message: Mapping[str, Any], users: Mapping[str, Mapping[str, Any] | None]) -> list[str]:
    """A body for each language that somebody reads; `users` are profiles, the sender's included."""
    sender = (users.get(message["sender_id"]) or {}).get("display_name")
    readers: dict[str, list[str]] = {}
    for user_id, user in users.items():
        if user_id != message["sender_id"] and not (user or {}).get("push_muted"):
            readers.setdefault((user or {}).get("language", "en"), []).append(user_id)
    return [
        json.dumps(
            {
                "group_id": "new_message",
                "recipients": {"custom_ids": user_ids},
                "message": {
                    "title": sender or TEXTS[language][0],
                    "body": message.get("text") or TEXTS[language][1],
                },
                "media": {"picture": message.get("image_url")},
            },
            ensure_ascii=False,
        )
        for language, user_ids in readers.items()
    ]
