"""What the handlers need of `users/{id}`: a name to show, and the language to speak."""

from collections.abc import Mapping, Sequence

from batchpush import Document, Recipients
from batchpush.change import is_unicode
from handlers.texts import language_of


def display_name(user: Document | None) -> str | None:
    """The person's name; None where the profile has none that can be shown."""
    name = user.get("display_name") if user else None
    return name.strip() or None if isinstance(name, str) and is_unicode(name) else None


def in_their_languages(users: Mapping[str, Document | None]) -> Sequence[Recipients]:
    """The users, by id with their profiles, as one group of recipients per language."""
    groups: dict[str, list[str]] = {}
    for user_id, user in users.items():
        language = language_of(user.get("language") if user else None)
        groups.setdefault(language, []).append(user_id)
    return [
        Recipients(custom_ids=tuple(user_ids), reads=language)
        for language, user_ids in groups.items()
    ]
