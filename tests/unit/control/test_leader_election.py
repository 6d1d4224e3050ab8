"""One writer: whatever happens to processes, wires and clocks, never do two of them act."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import looptime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue_operator.control import leader_election
from taskqueue_operator.control.clock import loop_clock
from taskqueue_operator.control.leader_election import LEASE_DURATION, RENEW_DEADLINE, RETRY_PERIOD, Leadership
from taskqueue_operator.resource.faults import LeadershipLost
from taskqueue_operator.resource.lease import Lease

from .competing_leaders import Process, Server, Wire

pytestmark = pytest.mark.looptime

SOON = 2.0
"""Seconds for a takeover after a clean exit."""
LATE = 20.0
"""Seconds for a takeover after a kill."""
PASSING = 4.9
"""Seconds of trouble that do no harm, whenever they begin."""


@pytest.fixture
def server() -> Server:
    return Server()


async def two(server: Server) -> tuple[Process, Process]:
    """A leader and one that stands by. No fixture: there time would not be virtual."""
    first = Process(server, "first")
    await asyncio.sleep(1)
    second = Process(server, "second")
    await asyncio.sleep(1)
    assert (first.leads(), second.leads()) == (True, False)
    return first, second


async def within(seconds: float, question: Callable[[], bool]) -> float:
    """Wait until it is so; returns how long that took."""
    begun = asyncio.get_running_loop().time()
    while not question():
        assert asyncio.get_running_loop().time() - begun < seconds
        await asyncio.sleep(0.05)
    return asyncio.get_running_loop().time() - begun


async def test_the_first_one_leads_at_once_and_keeps_leading(server: Server) -> None:
    process = Process(server, "first")
    await within(1, process.leads)
    for _ in range(100):
        await asyncio.sleep(1)
        assert process.leads()


async def test_the_second_one_stands_by_and_only_reads(server: Server) -> None:
    leader, other = await two(server)
    await asyncio.sleep(300)
    assert leader.leads()
    assert not other.leads()
    assert other.leadership.current_leader == "first"
    assert {lease.holder for lease in server.writes} == {"first"}


async def test_after_a_clean_exit_the_other_one_leads_within_two_seconds(server: Server) -> None:
    leader, other = await two(server)
    await leader.terminate()
    await within(SOON, other.leads)


async def test_after_a_kill_the_other_one_leads_within_twenty_seconds_and_not_earlier_than_is_safe(
    server: Server,
) -> None:
    leader, other = await two(server)
    await leader.kill()
    assert await within(LATE, other.leads) > LEASE_DURATION - leader_election.RENEW_PERIOD


async def test_a_container_that_is_started_again_goes_on_at_once_in_a_new_epoch(server: Server) -> None:
    leader, other = await two(server)
    before = leader.leadership.epoch
    await leader.kill()
    leader.start()
    await within(SOON, leader.leads)
    assert leader.leadership.epoch > before
    await asyncio.sleep(60)
    assert leader.leads()
    assert not other.leads()


async def test_one_that_was_stopped_wakes_up_deposed(server: Server) -> None:
    leader, other = await two(server)
    leader.stop()
    await within(LATE, other.leads)
    with pytest.raises(LeadershipLost):
        leader.leadership.check()
    leader.go_on()
    await within(1, lambda: bool(leader.deposed))
    assert other.leads()


async def test_one_that_slept_too_long_does_not_even_renew_a_lease_that_nobody_has_taken(server: Server) -> None:
    process = Process(server, "alone")
    await asyncio.sleep(1)
    process.stop()
    await asyncio.sleep(RENEW_DEADLINE + 1)
    writes = len(server.writes)
    process.go_on()
    await asyncio.sleep(5)
    assert process.deposed == ["The Lease could not be renewed for 10 s: this process did not run."]
    assert len(server.writes) == writes


async def test_one_that_cannot_reach_the_server_stops_acting_before_the_other_may_begin(server: Server) -> None:
    leader, other = await two(server)
    leader.wire.cut = True
    stopped = await within(RENEW_DEADLINE + 0.1, lambda: not leader.leads())
    begun = stopped + await within(LATE - stopped, other.leads)
    assert begun - stopped > LEASE_DURATION - RENEW_DEADLINE - 2 * RETRY_PERIOD
    assert leader.deposed == ["The Lease could not be renewed for 10 s: no answer within 2 s"]


async def test_a_passing_trouble_costs_nothing(server: Server) -> None:
    leader, _ = await two(server)
    for _ in range(10):
        leader.wire.cut = True
        await asyncio.sleep(PASSING)
        leader.wire.cut = False
        await asyncio.sleep(6.1)
    assert leader.leads()
    assert not leader.deposed


async def test_an_answer_that_is_lost_costs_nothing(server: Server) -> None:
    leader, _ = await two(server)
    leader.wire.mute = True
    await asyncio.sleep(PASSING)
    leader.wire.mute = False
    await asyncio.sleep(60)
    assert leader.leads()
    assert not leader.deposed


async def test_requests_that_arrive_but_are_never_confirmed_are_no_right_to_act(server: Server) -> None:
    leader, _ = await two(server)
    leader.wire.mute = True
    await within(RENEW_DEADLINE + 0.1, lambda: not leader.leads())


async def test_an_acquisition_without_an_answer_is_made_again(server: Server) -> None:
    process = Process(server, "first")
    process.wire.mute = True
    await asyncio.sleep(5)
    assert server.lease is None
    process.wire.mute = False
    await within(5, process.leads)


async def test_what_passers_by_write_neither_deposes_nor_prolongs(server: Server) -> None:
    leader, other = await two(server)

    async def label() -> None:
        while True:
            assert server.lease is not None
            server.lease = server.touch(server.lease)
            await asyncio.sleep(1.1)

    passer_by = asyncio.create_task(label())
    await asyncio.sleep(30)
    assert leader.leads()
    await leader.kill()
    await within(LATE, other.leads)
    passer_by.cancel()


async def test_whoever_finds_the_lease_taken_ends_and_says_by_whom(server: Server) -> None:
    leader, _ = await two(server)
    assert server.lease is not None
    server.lease = server.touch(replace(server.lease, holder="somebody"))
    await within(SOON + leader_election.RENEW_PERIOD, lambda: bool(leader.deposed))
    assert leader.deposed == ["somebody holds the Lease."]


async def test_a_lease_that_is_deleted_is_not_taken_while_its_holder_may_believe_in_it(server: Server) -> None:
    leader, other = await two(server)
    leader.wire.cut = True
    server.lease = None
    assert await within(LATE, other.leads) > RENEW_DEADLINE
    assert leader.deposed


async def test_one_that_is_told_to_stop_while_it_stands_by_ends_at_once(server: Server) -> None:
    leader, other = await two(server)
    async with asyncio.timeout(1):
        await other.terminate()
    assert leader.leads()


async def test_before_it_leads_and_after_it_let_go_nothing_may_be_written(server: Server) -> None:
    leadership = Leadership(Wire(server), "first", loop_clock(), asyncio.get_running_loop().time)
    with pytest.raises(LeadershipLost):
        leadership.check()
    assert await leadership.acquire(asyncio.Event())
    leadership.check()
    await leadership.release()
    with pytest.raises(LeadershipLost):
        leadership.check()
    assert server.lease is not None
    assert server.lease.holder == ""


async def test_an_epoch_is_the_time_or_one_more_than_the_last(server: Server) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    for last in (None, 5, int(at.timestamp()), int(at.timestamp()) + 1000):
        server.lease = server.touch(Lease(epoch=last)) if last is not None else None
        leadership = Leadership(Wire(server), "first", loop_clock(at), asyncio.get_running_loop().time)
        assert await leadership.acquire(asyncio.Event())
        assert leadership.epoch == max((last or 0) + 1, int(at.timestamp()))
        assert server.lease is not None
        assert server.lease.epoch == leadership.epoch


# Any history at all.

HAPPENINGS = ("stop", "go on", "kill", "start", "terminate", "cut", "mend", "mute", "slow")
HISTORIES = st.lists(
    st.tuples(st.floats(0, 20), st.integers(0, 2), st.sampled_from(HAPPENINGS)), min_size=1, max_size=20
)
RATES = st.tuples(*[st.floats(0.99, 1.01)] * 3)
"""Clocks that run apart by a hundredth, which is a hundred times what real ones do."""


async def _nothing() -> None: ...


History = list[tuple[float, int, str]]


class Play:
    """Three processes, and a history that happens to them."""

    def __init__(self, rates: tuple[float, ...]) -> None:
        self.server = Server()
        self.processes: list[Process] = []
        self.most = self.last = 0
        self._rates = rates

    async def run(self, history: History) -> None:
        for number, rate in enumerate(self._rates):
            self.processes.append(Process(self.server, f"pod-{number}", rate=rate))
            await asyncio.sleep(0.1)
        for seconds, number, what in history:
            await self._happen(self.processes[number], what)
            await self._watch(seconds)

    async def recover(self) -> None:
        """Mend everything, and start again what has ended or still ends: there is one leader in time."""
        for seconds in (RENEW_DEADLINE, LATE):
            for process in self.processes:
                for what in ("mend", "go on", "start"):
                    await self._happen(process, what)
            await self._watch(seconds)
        self.last = sum(process.leads() for process in self.processes)

    async def _happen(self, process: Process, what: str) -> None:
        await {"kill": process.kill, "terminate": process.terminate}.get(what, _nothing)()
        {
            "stop": process.stop,
            "go on": process.go_on,
            "start": process.start,
            "cut": process.wire.break_,
            "mute": process.wire.silence,
            "slow": process.wire.slow_down,
            "mend": process.wire.mend,
        }.get(what, bool)()

    async def _watch(self, seconds: float) -> None:
        end = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end:
            self.most = max(self.most, sum(process.leads() for process in self.processes))
            await asyncio.sleep(0.1)


def played(history: History, rates: tuple[float, ...]) -> Play:
    async def play() -> Play:
        made = Play(rates)
        await made.run(history)
        await made.recover()
        return made

    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        return runner.run(play())


@pytest.mark.slow
@given(HISTORIES, RATES)
def test_invariant_9_never_do_two_believe_that_they_may_act_and_in_the_end_one_does(
    history: History, rates: tuple[float, ...]
) -> None:
    play = played(history, rates)
    assert play.most <= 1
    assert play.last == 1
    writes = play.server.writes
    assert [lease.epoch for lease in writes] == sorted(lease.epoch for lease in writes)
    reigns = {(lease.epoch, lease.holder) for lease in writes if lease.holder}
    assert len(reigns) == len({epoch for epoch, _ in reigns})


STOPPED = [(5.0, 0, "stop"), (25.0, 1, "mend")]
CUT = [(5.0, 0, "cut"), (25.0, 1, "mend")]


@pytest.mark.parametrize("history", [STOPPED, CUT], ids=["stopped", "cut off"])
def test_without_the_margin_two_would_act_and_it_would_be_seen(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leader_election, "RENEW_DEADLINE", LEASE_DURATION + 5)
    assert played(history, (1.0, 1.0, 1.0)).most == 2
