"""Which message runs and which waits."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from taskqueue_worker.delivery_buffer import DeliveryBuffer

SLOTS = 3


class DeliveryBufferMachine(RuleBasedStateMachine):
    """After any sequence of steps, every message is in exactly one place."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer: DeliveryBuffer[int] = DeliveryBuffer(SLOTS)
        self.added = 0
        self.running: list[int] = []
        self.removed: list[int] = []
        self.closed = False

    @rule()
    def add(self) -> None:
        self.buffer.add(self.added)
        self.added += 1

    @rule()
    def start_next(self) -> None:
        has_slot, waits = len(self.running) < SLOTS, self.buffer.prefetched > 0
        assert self.buffer.can_start == (has_slot and waits and not self.closed)
        if self.buffer.can_start:
            message = self.buffer.start_next()
            assert message not in self.removed, "withdrawn or released, and started"
            assert all(message > other for other in self.running), "started out of order"
            self.running.append(message)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        message = data.draw(st.sampled_from(self.running))
        self.running.remove(message)
        self.removed.append(message)
        self.buffer.release(message)

    @rule(remainder=st.integers(0, 2))
    def withdraw(self, remainder: int) -> None:
        withdrawn = self.buffer.withdraw(lambda message: message % 3 == remainder)
        assert not set(withdrawn) & {*self.running, *self.removed}
        assert all(message % 3 == remainder for message in withdrawn)
        self.removed += withdrawn

    @rule()
    def close(self) -> None:
        self.buffer.close()
        self.closed = True

    @rule()
    def reopen(self) -> None:
        self.buffer.reopen()
        self.closed = False

    @invariant()
    def no_message_is_lost_or_duplicated(self) -> None:
        assert self.buffer.in_flight == len(self.running) <= SLOTS
        assert self.buffer.is_quiet == (self.closed and not self.running)
        for message in range(self.added):
            assert self.buffer.holds(message.__eq__) == (message not in self.removed)
        assert self.added == self.buffer.prefetched + len(self.running) + len(self.removed)


TestDeliveryBuffer = DeliveryBufferMachine.TestCase
