"""Every way in which a few deliveries of one event can interleave, with a few faults.

The model steps through what `Worker` does, with the same pure functions for every decision;
Firestore is a register with a create that has one winner and an update under a fence. It is
explored exhaustively.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from batchpush.batch_api.outcome import Outcome, Reply
from batchpush.delivery.record import CallRecord, DeliveryState, Record
from tests.deliveries import claimed

START = datetime(2026, 5, 4, tzinfo=UTC)
LEASE = timedelta(seconds=1)
NEW = claimed(
    "", START, calls=(), bodies=(), best_before=START + timedelta(days=1), lease_until=None
)

# What Batch may do with a call: what we learn, and whether it took it. All but the first are
# faults.
ANSWERS = (
    (Outcome.ACCEPTED, True),
    (Outcome.UNKNOWN, True),
    (Outcome.UNKNOWN, False),
    (Outcome.NOT_SENT, False),
    (Outcome.REFUSED, False),
)


@dataclass(frozen=True)
class Delivery:
    """One delivery of the event: where it is, the record it holds, the call that is next."""

    at: str = "claim"
    held: Record | None = None
    next_call: int = 0

    def order(self) -> tuple[object, ...]:
        return self.at, self.next_call, self.held.revision if self.held else -1


GONE = Delivery("gone")


@dataclass(frozen=True)
class World:
    now: datetime
    stored: Record | None
    deliveries: tuple[Delivery, ...]
    accepted: tuple[int, ...]
    faults: int
    is_task_made: bool = False
    was_killed: bool = False

    def with_delivery(self, index: int, delivery: Delivery, **changes: object) -> "World":
        others = self.deliveries[:index] + self.deliveries[index + 1 :]
        # In any order: which delivery is which makes no difference.
        deliveries = tuple(sorted((*others, delivery), key=Delivery.order))
        return replace(self, deliveries=deliveries, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Model:
    """`later` is whether somebody has to wait, and a task is to be made; `over` is whether the
    claim's own count says that the push is over a limit.
    """

    calls: int
    max_resends: int
    later: bool = False
    over: bool = False

    def first(self, deliveries: int, faults: int) -> World:
        return World(START, None, (Delivery(),) * deliveries, (0,) * self.calls, faults)

    def steps(self, world: World) -> Iterator[World]:
        """Every world that can come next."""
        for index, delivery in enumerate(world.deliveries):
            if delivery is not GONE and delivery.at != "gone":
                yield from getattr(self, delivery.at)(world, index, delivery)
                if world.faults and delivery.at != "claim":
                    yield world.with_delivery(index, GONE, faults=world.faults - 1, was_killed=True)
        if world.stored and world.stored.state is DeliveryState.CLAIMED and self.lease_runs(world):
            assert world.stored.lease_until is not None
            yield replace(world, now=world.stored.lease_until)

    def lease_runs(self, world: World) -> bool:
        assert world.stored is not None
        return not world.stored.is_free(world.now)

    def claim(self, world: World, index: int, delivery: Delivery) -> Iterator[World]:
        if world.stored is None:
            calls = tuple(CallRecord(str(number), number) for number in range(self.calls))
            later = (("waiting", START + timedelta(days=1)),) if self.later else ()
            mine = replace(
                NEW, calls=calls, owner="new", lease_until=world.now + LEASE, later=later
            )
            at = "refuse" if self.over else "send"
            yield world.with_delivery(index, Delivery(at, mine), stored=mine)
            if world.faults:  # Firestore will never store it
                refused = mine.refused("too large", world.now)
                yield world.with_delivery(index, GONE, stored=refused, faults=world.faults - 1)
        elif world.stored.is_free(world.now):
            yield world.with_delivery(index, Delivery("take_up", world.stored))
        else:
            yield world.with_delivery(index, GONE)

    def take_up(self, world: World, index: int, delivery: Delivery) -> Iterator[World]:
        assert delivery.held is not None
        if world.stored != delivery.held:
            yield world.with_delivery(index, GONE)  # fenced off
            return
        taken = delivery.held.reclaimed(
            owner=f"{delivery.held.revision}",
            now=world.now,
            lease_until=world.now + LEASE,
            max_resends=self.max_resends,
        )
        after = GONE if taken.is_settled else Delivery("send", taken)
        yield world.with_delivery(index, after, stored=taken)

    def send(self, world: World, index: int, delivery: Delivery) -> Iterator[World]:
        held, number = delivery.held, delivery.next_call
        assert held is not None
        if number == self.calls:
            at = "make_task" if held.later else "record"
            yield world.with_delivery(index, replace(delivery, at=at))
            return
        call = held.calls[number]
        is_stale = held.lease_until is None or world.now >= held.lease_until
        if not call.is_pending or is_stale:
            yield world.with_delivery(index, replace(delivery, next_call=number + 1))
            return
        for outcome, taken in ANSWERS:
            cost = 0 if outcome is Outcome.ACCEPTED else 1
            if cost > world.faults:
                continue
            after = call.after(outcome, Reply(), self.max_resends)
            calls = (*held.calls[:number], replace(after, tries=0), *held.calls[number + 1 :])
            accepted = list(world.accepted)
            accepted[number] += taken
            yield world.with_delivery(
                index,
                Delivery("send", replace(held, calls=calls), number + 1),
                accepted=tuple(accepted),
                faults=world.faults - cost,
            )

    def make_task(self, world: World, index: int, delivery: Delivery) -> Iterator[World]:
        held = delivery.held
        assert held is not None
        made = Delivery("record", replace(held, later=()), delivery.next_call)
        yield world.with_delivery(index, made, is_task_made=True)
        if world.faults:  # Cloud Tasks does not accept it
            yield world.with_delivery(
                index, replace(delivery, at="record"), faults=world.faults - 1
            )

    def refuse(self, world: World, index: int, delivery: Delivery) -> Iterator[World]:
        """What the claim counted is over a limit: nothing is sent."""
        assert delivery.held is not None
        refused = replace(delivery.held.ended(DeliveryState.REFUSED, "over"), calls=())
        is_ours = world.stored == delivery.held
        yield world.with_delivery(index, GONE, stored=refused if is_ours else world.stored)

    def record(self, world: World, index: int, delivery: Delivery) -> Iterator[World]:
        held, stored = delivery.held, world.stored
        assert held is not None
        assert stored is not None
        if (stored.owner, stored.revision) != (held.owner, held.revision):
            yield world.with_delivery(index, GONE)  # fenced off
        else:
            after = self.outcome(held, world.now)
            yield world.with_delivery(index, GONE, stored=after)

    def outcome(self, held: Record, now: datetime) -> Record:
        return held.after(held.calls, now, held.later)

    def swept(self, world: World) -> World:
        """The world after the sweep has had its way, without faults."""
        while world.stored is not None and not world.stored.is_settled:
            world = replace(world, now=world.now + LEASE, deliveries=(Delivery(),), faults=0)
            while any(delivery.at != "gone" for delivery in world.deliveries):
                world = next(self.steps(world))
        return world

    def check(self, world: World) -> None:
        """What must be true of every world that can be."""
        assert all(count <= 1 + self.max_resends for count in world.accepted), world
        if world.stored is None:
            assert not any(world.accepted), world
            return
        if self.over and any(world.accepted):
            # Who takes over from an owner that is gone, or slow, does not know the count.
            assert world.was_killed or world.now > START, world
        if not world.stored.calls:
            assert world.stored.state is DeliveryState.REFUSED, world
            assert world.stored.reason, world
            return
        if world.stored.is_settled:
            assert world.is_task_made or not self.later, world
        for call, count in zip(world.stored.calls, world.accepted, strict=True):
            if call.state.value == "accepted":
                assert count >= 1, world
            if call.state.value == "refused":
                assert not count or call.unknown, world
            if call.state.value == "held":
                assert call.unknown > self.max_resends, world

    def explore(self, deliveries: int, faults: int) -> int:
        """Check every world that can be; returns how many there are."""
        first = self.first(deliveries, faults)
        seen, stack = {first}, [first]
        while stack:
            world = stack.pop()
            self.check(world)
            following = set(self.steps(world))
            if not following:
                end = self.swept(world)
                self.check(end)
                assert end.stored is None or end.stored.is_settled
            stack.extend(following - seen)
            seen |= following
        return len(seen)


@pytest.mark.parametrize(
    ("calls", "deliveries", "faults", "max_resends"),
    [(1, 4, 3, 0), (1, 4, 3, 1), (2, 3, 2, 1), (3, 2, 3, 0)],
)
def test_no_interleaving_breaks_the_promise(
    calls: int, deliveries: int, faults: int, max_resends: int
) -> None:
    assert Model(calls, max_resends).explore(deliveries, faults) > 100


@pytest.mark.parametrize("max_resends", [0, 1])
@pytest.mark.parametrize(
    ("calls", "deliveries", "faults"),
    [(1, 3, 3), (2, 2, 2)],
)
def test_nor_does_one_with_a_task_to_be_made(
    calls: int, deliveries: int, faults: int, max_resends: int
) -> None:
    """Without it, nobody is told who has to wait."""
    assert Model(calls, max_resends, later=True).explore(deliveries, faults) > 100


@pytest.mark.parametrize("max_resends", [0, 1])
def test_nor_does_one_that_is_over_a_limit(max_resends: int) -> None:
    assert Model(1, max_resends, over=True).explore(deliveries=3, faults=3) > 50


class Unfenced(Model):
    """An update that does not care who wrote before it."""

    def take_up(self, world: World, index: int, delivery: Delivery) -> Iterator[World]:
        yield from super().take_up(replace(world, stored=delivery.held), index, delivery)


class Forgetful(Model):
    """An owner that died is taken for one that sent nothing."""

    def take_up(self, world: World, index: int, delivery: Delivery) -> Iterator[World]:
        assert delivery.held is not None
        forgiven = replace(delivery.held, state=DeliveryState.RETRY, lease_until=None)
        same = replace(world, stored=forgiven) if world.stored == delivery.held else world
        yield from super().take_up(same, index, replace(delivery, held=forgiven))


class Careless(Model):
    """A task that was not made is not made later either."""

    def outcome(self, held: Record, now: datetime) -> Record:
        return held.after(held.calls, now)


class Hasty(Model):
    """What is over a limit is sent all the same."""

    def refuse(self, world: World, index: int, delivery: Delivery) -> Iterator[World]:
        yield from self.send(world, index, replace(delivery, at="send"))


@pytest.mark.parametrize(
    "mistaken",
    [Unfenced(1, 0), Forgetful(1, 0), Careless(1, 0, later=True), Hasty(1, 0, over=True)],
)
def test_the_model_sees_what_would_break_the_promise(mistaken: Model) -> None:
    with pytest.raises(AssertionError):
        mistaken.explore(deliveries=3, faults=2)
