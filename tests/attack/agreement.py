"""Who agreed to hear from whom, told from what each of them did themselves.

It knows nothing of the rules: to be in a list is no agreement, if somebody else wrote it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tests.attack.world import AT_BATCH, BACK_END, PEOPLE


class Diff(NamedTuple):
    """What became of one document, named as in Firestore; None where there is none."""

    path: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


class Agreement:
    def __init__(self, documents: Mapping[str, Mapping[str, Any]]) -> None:
        self.befriended: set[frozenset[str]] = set()  # by a back end
        self.accepted: set[tuple[str, str]] = set()  # (who was asked, who asked)
        self.members: dict[str, set[str]] = {}
        self.were_members: dict[str, set[str]] = {}
        self.invited: set[tuple[str, str]] = set()
        self.requests: set[tuple[str, str]] = set()  # the same, at any time and without an answer
        self.owners = {user_id: user_id for user_id in PEOPLE} | AT_BATCH
        self.saw(BACK_END, (Diff(path, None, fields) for path, fields in documents.items()))

    def saw(self, who: str, diffs: Iterable[Diff]) -> None:
        """Somebody wrote."""
        for diff in diffs:
            match diff.path.split("/"):
                case ["users", user_id]:
                    self._profile(who, user_id, diff)
                case ["users", user_id, "friends", friend_id] if who == BACK_END:
                    self.befriended.add(frozenset({user_id, friend_id}))
                case ["users", user_id, "friend_requests", sender_id]:
                    self._request(who, user_id, sender_id, diff)
                case ["conversations", conversation_id]:
                    self._conversation(who, conversation_id, diff)
                case ["conversations", conversation_id, "invitations", user_id]:
                    self._invitation(who, conversation_id, user_id, diff)

    def are_friends(self, one: str, other: str) -> bool:
        return frozenset({one, other}) in self.befriended or bool(
            self.accepted & {(one, other), (other, one)}
        )

    def _profile(self, who: str, user_id: str, diff: Diff) -> None:
        batch = (diff.after or {}).get("batch")
        for each in texts(batch.get("install_ids") if isinstance(batch, dict) else None):
            if who == user_id:
                self.owners.setdefault(each, who)

    def _request(self, who: str, user_id: str, sender_id: str, diff: Diff) -> None:
        status = (diff.after or {}).get("status", "pending")
        if diff.after is not None and diff.before is None and who in (sender_id, BACK_END):
            self.requests.add((user_id, sender_id))
        if status == "accepted" and who in (user_id, BACK_END):
            self.accepted.add((user_id, sender_id))
        elif who in (user_id, sender_id):
            self.accepted.discard((user_id, sender_id))

    def _conversation(self, who: str, conversation_id: str, diff: Diff) -> None:
        before = set(texts((diff.before or {}).get("member_ids")))
        after = set(texts((diff.after or {}).get("member_ids")))
        members = self.members.setdefault(conversation_id, set())
        were = self.were_members.setdefault(conversation_id, set())
        is_new = diff.before is None
        for each in after - before:
            agrees = who == BACK_END or (
                is_new if who == each else is_new and self.are_friends(who, each)
            )
            if agrees or (who == each and (conversation_id, who) in self.invited):
                members.add(each)
                were.add(each)
        members -= before - after if who == BACK_END else (before - after) & {who}

    def _invitation(self, who: str, conversation_id: str, user_id: str, diff: Diff) -> None:
        invited = (conversation_id, user_id)
        if diff.after is None:
            self.invited.discard(invited)
        elif who == BACK_END or who in self.members.get(conversation_id, ()):
            self.invited.add(invited)


def texts(value: Any) -> list[str]:
    """The ids of a list, or of a map of indices as the Realtime Database may return it."""
    if isinstance(value, dict):
        value = list(value.values())
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
