"""Which drain is in force, and until when."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from taskqueue_drain.bounds import INSTALLATIONS
from taskqueue_drain.drain_lease import ANOTHER_INSTALLATION, LEAVING, SUPERSEDED, TOO_MANY, DrainLease
from taskqueue_drain.protocol import Command, Drain, Verb


def command(verb: Verb, installation: str = "a", epoch: int = 1, seq: int = 1, lease: float = 60) -> Command:
    return Command("id", verb, Drain(installation, epoch, seq), lease if verb is Verb.DRAIN else 0)


def drain(installation: str = "a", epoch: int = 1, seq: int = 1, lease: float = 60) -> Command:
    return command(Verb.DRAIN, installation, epoch, seq, lease)


def test_a_drain_ends_when_its_lease_expires() -> None:
    lease = DrainLease()
    assert lease.apply(drain(), now=100) is None
    assert lease.holder(159.9) == Drain("a", 1, 1)
    assert lease.expires_at == 160
    assert lease.holder(160) is None


def test_each_drain_renews_the_lease() -> None:
    lease = DrainLease()
    lease.apply(drain(), now=0)
    lease.apply(drain(seq=2), now=50)
    assert lease.holder(109) == Drain("a", 1, 2)
    assert lease.holder(110) is None


def test_an_undrain_ends_the_drain_at_once() -> None:
    lease = DrainLease()
    lease.apply(drain(), now=0)
    assert lease.apply(command(Verb.UNDRAIN), now=1) is None
    assert lease.holder(1) is None


def test_a_command_with_a_lower_fencing_token_is_superseded() -> None:
    lease = DrainLease()
    lease.apply(drain(epoch=2, seq=4), now=0)
    for older in (drain(epoch=1, seq=9), drain(epoch=2, seq=3), command(Verb.UNDRAIN, epoch=1, seq=9)):
        assert lease.apply(older, now=1) == SUPERSEDED
    assert lease.holder(1) == Drain("a", 2, 4)
    assert lease.apply(command(Verb.REPORT, epoch=3), now=2) is None
    assert lease.apply(command(Verb.UNDRAIN, epoch=2, seq=9), now=2) == SUPERSEDED


def test_a_fencing_token_is_forgotten_120_seconds_after_the_last_accepted_command() -> None:
    lease = DrainLease()
    lease.apply(command(Verb.REPORT, epoch=2), now=0)
    assert lease.apply(drain(epoch=1), now=119) == SUPERSEDED
    assert lease.apply(drain(epoch=1), now=120) is None, "a refusal does not keep the memory alive"


def test_an_installation_has_its_own_epochs_and_cannot_change_the_drain_of_another() -> None:
    lease = DrainLease()
    lease.apply(drain("a", epoch=9), now=0)
    for verb in Verb:
        assert lease.apply(command(verb, "b", epoch=1), now=1) == ANOTHER_INSTALLATION
    assert lease.holder(1) == Drain("a", 9, 1)
    assert lease.apply(drain("b", epoch=1), now=60) is None


def test_so_many_installations_are_remembered_and_a_known_one_goes_on() -> None:
    lease = DrainLease()
    for number in range(INSTALLATIONS):
        assert lease.apply(command(Verb.REPORT, str(number)), now=1) is None
    assert lease.apply(command(Verb.REPORT, "another"), now=1) == TOO_MANY
    assert lease.apply(drain("0"), now=1) is None
    assert lease.apply(command(Verb.REPORT, "another"), now=130) is None


def test_a_leaving_worker_is_neither_drained_nor_undrained() -> None:
    lease = DrainLease()
    lease.apply(drain(), now=0)
    lease.begin_shutdown()
    assert lease.holder(0) is None
    assert lease.apply(drain(), now=1) == LEAVING
    assert lease.apply(command(Verb.UNDRAIN), now=1) == LEAVING
    assert lease.apply(command(Verb.REPORT), now=1) is None


class DrainLeaseMachine(RuleBasedStateMachine):
    """Any commands from three installations, in any order, at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.lease = DrainLease()
        self.now = 0.0
        self.accepted: list[tuple[float, Command]] = []

    @rule(seconds=st.sampled_from([0.5, 5, 20, 59, 60, 61, 119, 120, 121]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(
        verb=st.sampled_from(Verb),
        installation=st.sampled_from("abc"),
        epoch=st.integers(1, 3),
        seq=st.integers(1, 3),
        lease=st.sampled_from([1, 60, 120]),
    )
    def send(self, verb: Verb, installation: str, epoch: int, seq: int, lease: float) -> None:
        before = self.lease.holder(self.now)
        sent = command(verb, installation, epoch, seq, lease)
        if self.lease.apply(sent, self.now) is None:
            for at, earlier in self.accepted:
                if earlier.drain.installation == installation and self.now - at < 120:
                    assert (earlier.drain.epoch, earlier.drain.seq) <= (epoch, seq)
            assert before is None or before.installation == installation
            self.accepted.append((self.now, sent))
        else:
            assert self.lease.holder(self.now) == before, "a refusal changes nothing"

    @invariant()
    def the_drain_in_force_is_the_last_one_that_is_neither_undrained_nor_expired(self) -> None:
        relevant = [(at, command) for at, command in self.accepted if command.verb is not Verb.REPORT]
        expected = None
        if relevant:
            at, last = relevant[-1]
            if last.verb is Verb.DRAIN and self.now < at + last.lease_seconds:
                expected = last.drain
        assert self.lease.holder(self.now) == expected


TestDrainLease = DrainLeaseMachine.TestCase
