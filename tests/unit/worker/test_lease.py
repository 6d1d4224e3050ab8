"""Whose drain is obeyed, and until when."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from taskqueue_worker.drain_lease import ANOTHER_INSTALLATION, LEAVING, SUPERSEDED, DrainLease
from taskqueue_worker.protocol import Command, Drain, Name


def command(name: Name, installation: str = "a", epoch: int = 1, seq: int = 1, lease: float = 60) -> Command:
    return Command("id", name, Drain(installation, epoch, seq), lease if name is Name.DRAIN else 0)


def drain(installation: str = "a", epoch: int = 1, seq: int = 1, lease: float = 60) -> Command:
    return command(Name.DRAIN, installation, epoch, seq, lease)


def test_a_drain_ends_by_itself_when_its_lease_does() -> None:
    lease = DrainLease()
    assert lease.obey(drain(), now=100) is None
    assert lease.holder(159.9) == Drain("a", 1, 1)
    assert lease.ends == 160
    assert lease.holder(160) is None


def test_each_drain_begins_the_lease_anew() -> None:
    lease = DrainLease()
    lease.obey(drain(), now=0)
    lease.obey(drain(seq=2), now=50)
    assert lease.holder(109) == Drain("a", 1, 2)
    assert lease.holder(110) is None


def test_an_undrain_ends_it_at_once() -> None:
    lease = DrainLease()
    lease.obey(drain(), now=0)
    assert lease.obey(command(Name.UNDRAIN), now=1) is None
    assert lease.holder(1) is None


def test_an_older_epoch_is_superseded_whatever_its_seq_and_an_older_seq_within_the_epoch() -> None:
    lease = DrainLease()
    lease.obey(drain(epoch=2, seq=4), now=0)
    for older in (drain(epoch=1, seq=9), drain(epoch=2, seq=3), command(Name.UNDRAIN, epoch=1, seq=9)):
        assert lease.obey(older, now=1) == SUPERSEDED
    assert lease.holder(1) == Drain("a", 2, 4)
    assert lease.obey(command(Name.REPORT, epoch=3), now=2) is None
    assert lease.obey(command(Name.UNDRAIN, epoch=2, seq=9), now=2) == SUPERSEDED


def test_an_installation_is_forgotten_120_seconds_after_it_was_obeyed() -> None:
    lease = DrainLease()
    lease.obey(command(Name.REPORT, epoch=2), now=0)
    assert lease.obey(drain(epoch=1), now=119) == SUPERSEDED
    assert lease.obey(drain(epoch=1), now=120) is None, "a refusal does not keep the memory alive"


def test_installations_have_epochs_of_their_own_and_no_power_over_each_others_drain() -> None:
    lease = DrainLease()
    lease.obey(drain("a", epoch=9), now=0)
    for name in Name:
        assert lease.obey(command(name, "b", epoch=1), now=1) == ANOTHER_INSTALLATION
    assert lease.holder(1) == Drain("a", 9, 1)
    assert lease.obey(drain("b", epoch=1), now=60) is None


def test_who_leaves_is_neither_drained_nor_undrained() -> None:
    lease = DrainLease()
    lease.obey(drain(), now=0)
    lease.leave()
    assert lease.holder(0) is None
    assert lease.obey(drain(), now=1) == LEAVING
    assert lease.obey(command(Name.UNDRAIN), now=1) == LEAVING
    assert lease.obey(command(Name.REPORT), now=1) is None


class LeaseMachine(RuleBasedStateMachine):
    """Any commands of three installations, in any order and at any times."""

    def __init__(self) -> None:
        super().__init__()
        self.lease = DrainLease()
        self.now = 0.0
        self.obeyed: list[tuple[float, Command]] = []

    @rule(seconds=st.sampled_from([0.5, 5, 20, 59, 60, 61, 119, 120, 121]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(
        name=st.sampled_from(Name),
        installation=st.sampled_from("abc"),
        epoch=st.integers(1, 3),
        seq=st.integers(1, 3),
        lease=st.sampled_from([1, 60, 120]),
    )
    def send(self, name: Name, installation: str, epoch: int, seq: int, lease: float) -> None:
        before = self.lease.holder(self.now)
        sent = command(name, installation, epoch, seq, lease)
        if self.lease.obey(sent, self.now) is None:
            for at, former in self.obeyed:
                if former.drain.installation == installation and self.now - at < 120:
                    assert (former.drain.epoch, former.drain.seq) <= (epoch, seq)
            assert before is None or before.installation == installation
            self.obeyed.append((self.now, sent))
        else:
            assert self.lease.holder(self.now) == before, "a refusal changes nothing"

    @invariant()
    def it_is_drained_by_the_last_drain_that_was_not_taken_back_and_has_not_ended(self) -> None:
        relevant = [(at, command) for at, command in self.obeyed if command.name is not Name.REPORT]
        expected = None
        if relevant:
            at, last = relevant[-1]
            if last.name is Name.DRAIN and self.now < at + last.lease_seconds:
                expected = last.drain
        assert self.lease.holder(self.now) == expected


TestLease = LeaseMachine.TestCase
