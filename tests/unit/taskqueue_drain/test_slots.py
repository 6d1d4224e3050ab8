"""Threads that run handlers: how many, what they take, and what they leave."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from taskqueue_drain.slots import Slots
from taskqueue_drain.wish import Wish

TIMEOUT_SECONDS = 60


@dataclass(eq=False)
class Delivery:
    number: int
    is_lost: bool = False


class Scene:
    """Two slots; a handler says that it has begun, and ends when it may."""

    def __init__(self) -> None:
        self.wish = Wish()
        self.slots = Slots[Delivery](2, self.wish, self._handle, self._on_end)
        self.begun: list[int] = []
        self.ended: list[tuple[int, bool]] = []
        self.gates = [threading.Event() for _ in range(6)]
        self.changed = threading.Condition()

    def receive(self, number: int) -> Delivery:
        delivery = Delivery(number)
        self.slots.receive(delivery)
        return delivery

    def wait_for(self, begun: list[int], ended: list[int]) -> None:
        with self.changed:
            assert self.changed.wait_for(
                lambda: sorted(self.begun) == begun and sorted(n for n, _ in self.ended) == ended, TIMEOUT_SECONDS
            ), (self.begun, self.ended)

    def close(self) -> None:
        for gate in self.gates:
            gate.set()
        self.slots.close()

    def _handle(self, delivery: Delivery) -> None:
        self._note(self.begun, delivery.number)
        self.gates[delivery.number].wait(TIMEOUT_SECONDS)
        if delivery.number == 5:
            raise SystemExit

    def _on_end(self, delivery: Delivery, done: bool) -> None:  # noqa: FBT001 - a callback
        self._note(self.ended, (delivery.number, done))

    def _note(self, where: list[Any], what: object) -> None:
        with self.changed:
            where.append(what)
            self.changed.notify_all()


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    yield scene
    scene.close()


def test_a_slot_takes_the_next_message_at_the_end_of_its_task(scene: Scene) -> None:
    for number in range(4):
        scene.receive(number)
    scene.wait_for(begun=[0, 1], ended=[])
    assert scene.slots.figures().prefetched == 2
    scene.gates[1].set()
    scene.wait_for(begun=[0, 1, 2], ended=[1])


def test_a_task_is_in_flight_until_its_message_is_settled(scene: Scene) -> None:
    delivery = scene.receive(0)
    scene.gates[0].set()
    scene.wait_for(begun=[0], ended=[0])
    assert scene.slots.figures().in_flight == 1
    scene.slots.settled(delivery, done=True)
    assert scene.slots.is_idle
    assert scene.slots.figures().completed == 1


def test_no_message_begins_after_a_stop_and_what_waits_is_returned(scene: Scene) -> None:
    for number in range(4):
        scene.receive(number)
    scene.wait_for(begun=[0, 1], ended=[])
    scene.slots.stop()
    scene.gates[0].set()
    scene.wait_for(begun=[0, 1], ended=[0])
    assert [delivery.number for delivery in scene.slots.withdraw()] == [2, 3]
    scene.wish.ask(may_consume=True)
    scene.receive(4)
    scene.wait_for(begun=[0, 1, 4], ended=[0])


def test_messages_of_a_closed_channel_do_not_begin(scene: Scene) -> None:
    for number in range(2):
        scene.receive(number)
    scene.wait_for(begun=[0, 1], ended=[])
    lost = scene.receive(2)
    scene.receive(3)
    lost.is_lost = True
    scene.gates[0].set()
    scene.wait_for(begun=[0, 1, 3], ended=[0])
    assert scene.slots.figures().prefetched == 0


def test_a_handler_that_exits_fails_its_task_and_keeps_its_slot(scene: Scene) -> None:
    scene.receive(5)
    scene.receive(0)
    scene.receive(1)
    scene.gates[5].set()
    scene.wait_for(begun=[0, 1, 5], ended=[5])
    assert scene.ended == [(5, False)]


@pytest.mark.parametrize("repetition", range(50))
def test_when_an_end_returns_every_message_that_begins_is_counted(scene: Scene, repetition: int) -> None:
    """The thread of the connection closes it as soon as nothing runs."""
    del repetition
    for gate in scene.gates:
        gate.set()
    for number in range(4):
        scene.receive(number)
    scene.slots.end()
    left = scene.slots.withdraw()
    figures = scene.slots.figures()
    assert figures.in_flight + len(left) == 4
