"""Every profile that was there before: pages of people, each a task of Cloud Tasks.

A person's state says what Batch has, so a page can be sent any number of times, and what was
stopped goes on where it is run again.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from batchpush.errors import DeliveryUnfinished
from batchpush.google.cloud_tasks import Tasks
from batchpush.logs import log
from batchpush.profiles.mirror import Mirror, ProfileHandler, Wanted
from batchpush.profiles.state import UNFINISHED, ProfileState

PAGE = 300  # people in a task
TASK = "syncprofiles"  # the function that gets them


@dataclass(frozen=True)
class Page:
    """People in the order of their ids, up to this one: how many, and what Batch lacks of them."""

    after: str
    upto: str
    people: int
    lacking: int  # people of whom an app lacks something
    refused: int  # people of whom an app refused something that has not changed
    unnamed: int  # people without a custom id, of whom Batch can be told nothing


@dataclass
class Backfill:
    """`source` is that of events of the Firestore database that has the profiles."""

    mirror: Mirror
    tasks: Tasks
    source: str

    async def pages(self, after: str, handler: ProfileHandler) -> AsyncIterator[Page]:
        """What Batch lacks of everybody after this id; nothing is sent."""
        async for user_ids in self.mirror.profiles.users(after, PAGE):
            if user_ids:
                wanted = await self.mirror.wanted(user_ids, self.source, handler)
                yield _page(after, user_ids, wanted)
                after = user_ids[-1]

    async def enqueue(self, page: Page) -> None:
        """Have the page sent by a task; raises `TasksUnavailable`."""
        await self.tasks.enqueue(TASK, {"after": page.after, "upto": page.upto})

    async def send(self, after: str, upto: str, handler: ProfileHandler) -> None:
        """Send one page, which has grown if people have signed up since.

        Raises `TryAgainLater` to have the task delivered again.
        """
        people, lacking = 0, list[Wanted]()
        async for some in self.mirror.profiles.users(after, PAGE):
            user_ids = [each for each in some if each <= upto]
            wanted = await self.mirror.wanted(user_ids, self.source, handler)
            people += len(user_ids)
            lacking += [each for each in wanted if each.changes]
            if some and some[-1] >= upto:
                break
        ends = await self.mirror.send(lacking, handler)
        unfinished = [each for each in ends.values() if each.state in UNFINISHED]
        left = len(unfinished) + len(lacking) - len(ends)
        data = {"people": people, "sent": len(ends) - len(unfinished), "left": left}
        log("INFO", "profiles.synced", data=data)
        if left:
            raise DeliveryUnfinished(f"attributes of {left} people are not at Batch yet")


def _page(after: str, user_ids: Sequence[str], wanted: Sequence[Wanted]) -> Page:
    states = [each.entry.mirrored.state for each in wanted]
    return Page(
        after=after,
        upto=user_ids[-1],
        people=len(user_ids),
        lacking=sum(bool(each.changes) for each in wanted),
        refused=states.count(ProfileState.REFUSED),
        unnamed=sum(each.is_unnamed for each in wanted),
    )
