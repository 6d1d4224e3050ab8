"""What runs and what waits."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from taskqueue_worker.delivery_buffer import DeliveryBuffer

SLOTS = 3


class HoardMachine(RuleBasedStateMachine):
    """Every message is in exactly one place, whatever happens in whatever order."""

    def __init__(self) -> None:
        super().__init__()
        self.hoard: DeliveryBuffer[int] = DeliveryBuffer(SLOTS)
        self.received = 0
        self.running: list[int] = []
        self.gone: list[int] = []
        self.closed = False

    @rule()
    def receive(self) -> None:
        self.hoard.receive(self.received)
        self.received += 1

    @rule()
    def start(self) -> None:
        free, waits = len(self.running) < SLOTS, self.hoard.prefetched > 0
        message = self.hoard.start()
        assert (message is not None) == (free and waits and not self.closed)
        if message is not None:
            assert message not in self.gone, "given back, and worked on"
            assert all(message > other for other in self.running), "out of order"
            self.running.append(message)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        message = data.draw(st.sampled_from(self.running))
        self.running.remove(message)
        self.gone.append(message)
        self.hoard.release(message)

    @rule(remainder=st.integers(0, 2))
    def take_back(self, remainder: int) -> None:
        taken = self.hoard.take_back(lambda message: message % 3 == remainder)
        assert not set(taken) & {*self.running, *self.gone}
        assert all(message % 3 == remainder for message in taken)
        self.gone += taken

    @rule()
    def close(self) -> None:
        self.hoard.close()
        self.closed = True

    @rule()
    def reopen(self) -> None:
        self.hoard.reopen()
        self.closed = False

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        assert self.hoard.in_flight == len(self.running) <= SLOTS
        assert self.hoard.is_quiet == (self.closed and not self.running)
        for message in range(self.received):
            assert self.hoard.holds(message.__eq__) == (message not in self.gone)
        assert self.received == self.hoard.prefetched + len(self.running) + len(self.gone)


TestHoard = HoardMachine.TestCase
