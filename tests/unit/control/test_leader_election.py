"""There is one writer at a time, whatever happens to processes, connections and clocks."""

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

from .competing_leaders import LeaseConnection, LeaseServer, OperatorProcess

pytestmark = pytest.mark.looptime

CLEAN_TAKEOVER = 2.0
"""Seconds for a takeover after a clean exit."""
KILL_TAKEOVER = 20.0
"""Seconds for a takeover after a kill."""
HARMLESS_OUTAGE = 4.9
"""Seconds of an outage that does no harm, whenever it begins."""


@pytest.fixture
def server() -> LeaseServer:
    return LeaseServer()


async def start_two(server: LeaseServer) -> tuple[OperatorProcess, OperatorProcess]:
    """Start a leader and a standby. This is no fixture: time in a fixture is not virtual."""
    first = OperatorProcess(server, "first")
    await asyncio.sleep(1)
    second = OperatorProcess(server, "second")
    await asyncio.sleep(1)
    assert (first.is_leader(), second.is_leader()) == (True, False)
    return first, second


async def within(seconds: float, operation: Callable[[], bool]) -> float:
    """Wait until the condition holds; returns the seconds that it took."""
    begun = asyncio.get_running_loop().time()
    while not operation():
        assert asyncio.get_running_loop().time() - begun < seconds
        await asyncio.sleep(0.05)
    return asyncio.get_running_loop().time() - begun


async def test_the_first_process_leads_at_once_and_stays_leader(server: LeaseServer) -> None:
    process = OperatorProcess(server, "first")
    await within(1, process.is_leader)
    for _ in range(100):
        await asyncio.sleep(1)
        assert process.is_leader()


async def test_a_standby_only_reads(server: LeaseServer) -> None:
    leader, other = await start_two(server)
    await asyncio.sleep(300)
    assert leader.is_leader()
    assert not other.is_leader()
    assert other.leadership.current_leader == "first"
    assert {lease.holder for lease in server.writes} == {"first"}


async def test_after_a_clean_exit_the_standby_leads_within_two_seconds(server: LeaseServer) -> None:
    leader, other = await start_two(server)
    await leader.terminate()
    await within(CLEAN_TAKEOVER, other.is_leader)


async def test_after_a_kill_the_standby_leads_within_twenty_seconds_and_not_earlier_than_is_safe(
    server: LeaseServer,
) -> None:
    leader, other = await start_two(server)
    await leader.kill()
    assert await within(KILL_TAKEOVER, other.is_leader) > LEASE_DURATION - leader_election.RENEW_PERIOD


async def test_a_restarted_container_leads_again_at_once_in_a_new_epoch(server: LeaseServer) -> None:
    leader, other = await start_two(server)
    before = leader.leadership.epoch
    await leader.kill()
    leader.start()
    await within(CLEAN_TAKEOVER, leader.is_leader)
    assert leader.leadership.epoch > before
    await asyncio.sleep(60)
    assert leader.is_leader()
    assert not other.is_leader()


async def test_a_stopped_leader_resumes_without_leadership(server: LeaseServer) -> None:
    leader, other = await start_two(server)
    leader.stop()
    await within(KILL_TAKEOVER, other.is_leader)
    with pytest.raises(LeadershipLost):
        leader.leadership.check()
    leader.resume()
    await within(1, lambda: bool(leader.lost_reasons))
    assert other.is_leader()


async def test_a_leader_stopped_beyond_the_deadline_does_not_renew_even_a_free_lease(server: LeaseServer) -> None:
    process = OperatorProcess(server, "alone")
    await asyncio.sleep(1)
    process.stop()
    await asyncio.sleep(RENEW_DEADLINE + 1)
    writes = len(server.writes)
    process.resume()
    await asyncio.sleep(5)
    assert process.lost_reasons == ["The Lease could not be renewed for 10 s: this process did not run."]
    assert len(server.writes) == writes


async def test_a_leader_without_a_connection_stops_acting_before_the_standby_may_start(server: LeaseServer) -> None:
    leader, other = await start_two(server)
    leader.connection.cut = True
    stopped = await within(RENEW_DEADLINE + 0.1, lambda: not leader.is_leader())
    begun = stopped + await within(KILL_TAKEOVER - stopped, other.is_leader)
    assert begun - stopped > LEASE_DURATION - RENEW_DEADLINE - 2 * RETRY_PERIOD
    assert leader.lost_reasons == ["The Lease could not be renewed for 10 s: no answer within 2 s"]


async def test_a_short_outage_changes_no_leader(server: LeaseServer) -> None:
    leader, _ = await start_two(server)
    for _ in range(10):
        leader.connection.cut = True
        await asyncio.sleep(HARMLESS_OUTAGE)
        leader.connection.cut = False
        await asyncio.sleep(6.1)
    assert leader.is_leader()
    assert not leader.lost_reasons


async def test_a_lost_response_changes_no_leader(server: LeaseServer) -> None:
    leader, _ = await start_two(server)
    leader.connection.responses_lost = True
    await asyncio.sleep(HARMLESS_OUTAGE)
    leader.connection.responses_lost = False
    await asyncio.sleep(60)
    assert leader.is_leader()
    assert not leader.lost_reasons


async def test_requests_without_a_response_give_no_leadership(server: LeaseServer) -> None:
    leader, _ = await start_two(server)
    leader.connection.responses_lost = True
    await within(RENEW_DEADLINE + 0.1, lambda: not leader.is_leader())


async def test_an_acquisition_without_a_response_is_retried(server: LeaseServer) -> None:
    process = OperatorProcess(server, "first")
    process.connection.responses_lost = True
    await asyncio.sleep(5)
    assert server.lease is None
    process.connection.responses_lost = False
    await within(5, process.is_leader)


async def test_writes_of_other_clients_neither_end_nor_extend_leadership(server: LeaseServer) -> None:
    leader, other = await start_two(server)

    async def label() -> None:
        while True:
            assert server.lease is not None
            server.lease = server.touch(server.lease)
            await asyncio.sleep(1.1)

    labelling = asyncio.create_task(label())
    await asyncio.sleep(30)
    assert leader.is_leader()
    await leader.kill()
    await within(KILL_TAKEOVER, other.is_leader)
    labelling.cancel()


async def test_a_leader_that_finds_another_holder_ends_and_logs_its_name(server: LeaseServer) -> None:
    leader, _ = await start_two(server)
    assert server.lease is not None
    server.lease = server.touch(replace(server.lease, holder="third"))
    await within(CLEAN_TAKEOVER + leader_election.RENEW_PERIOD, lambda: bool(leader.lost_reasons))
    assert leader.lost_reasons == ["third holds the Lease."]


async def test_a_deleted_lease_is_not_acquired_while_its_holder_may_still_act(server: LeaseServer) -> None:
    leader, other = await start_two(server)
    leader.connection.cut = True
    server.lease = None
    assert await within(KILL_TAKEOVER, other.is_leader) > RENEW_DEADLINE
    assert leader.lost_reasons


async def test_a_terminated_standby_ends_at_once(server: LeaseServer) -> None:
    leader, other = await start_two(server)
    async with asyncio.timeout(1):
        await other.terminate()
    assert leader.is_leader()


async def test_no_write_is_allowed_before_the_acquisition_and_after_the_release(server: LeaseServer) -> None:
    leadership = Leadership(LeaseConnection(server), "first", loop_clock(), asyncio.get_running_loop().time)
    with pytest.raises(LeadershipLost):
        leadership.check()
    assert await leadership.acquire(asyncio.Event())
    leadership.check()
    await leadership.release()
    with pytest.raises(LeadershipLost):
        leadership.check()
    assert server.lease is not None
    assert server.lease.holder == ""


async def test_an_epoch_is_the_time_or_one_more_than_the_last(server: LeaseServer) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    for last in (None, 5, int(at.timestamp()), int(at.timestamp()) + 1000):
        server.lease = server.touch(Lease(epoch=last)) if last is not None else None
        leadership = Leadership(LeaseConnection(server), "first", loop_clock(at), asyncio.get_running_loop().time)
        assert await leadership.acquire(asyncio.Event())
        assert leadership.epoch == max((last or 0) + 1, int(at.timestamp()))
        assert server.lease is not None
        assert server.lease.epoch == leadership.epoch


# Random histories.

EVENTS = ("stop", "resume", "kill", "start", "terminate", "cut", "repair", "lose responses", "slow")
HISTORIES = st.lists(st.tuples(st.floats(0, 20), st.integers(0, 2), st.sampled_from(EVENTS)), min_size=1, max_size=20)
RATES = st.tuples(*[st.floats(0.99, 1.01)] * 3)
"""Rates of clocks that differ by a hundredth: a hundred times the drift of real clocks."""


async def _nothing() -> None: ...


History = list[tuple[float, int, str]]


class ElectionRun:
    """Three processes, and a history of events that is applied to them."""

    def __init__(self, rates: tuple[float, ...]) -> None:
        self.server = LeaseServer()
        self.processes: list[OperatorProcess] = []
        self.max_leaders = self.final_leaders = 0
        self._rates = rates

    async def run(self, history: History) -> None:
        for number, rate in enumerate(self._rates):
            self.processes.append(OperatorProcess(self.server, f"pod-{number}", rate=rate))
            await asyncio.sleep(0.1)
        for seconds, number, what in history:
            await self._apply(self.processes[number], what)
            await self._watch(seconds)

    async def recover(self) -> None:
        """Repair all connections and start all ended processes: there is one leader in time."""
        for seconds in (RENEW_DEADLINE, KILL_TAKEOVER):
            for process in self.processes:
                for what in ("repair", "resume", "start"):
                    await self._apply(process, what)
            await self._watch(seconds)
        self.final_leaders = sum(process.is_leader() for process in self.processes)

    async def _apply(self, process: OperatorProcess, what: str) -> None:
        await {"kill": process.kill, "terminate": process.terminate}.get(what, _nothing)()
        {
            "stop": process.stop,
            "resume": process.resume,
            "start": process.start,
            "cut": process.connection.cut_off,
            "lose responses": process.connection.lose_responses,
            "slow": process.connection.slow_down,
            "repair": process.connection.repair,
        }.get(what, bool)()

    async def _watch(self, seconds: float) -> None:
        end = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end:
            self.max_leaders = max(self.max_leaders, sum(process.is_leader() for process in self.processes))
            await asyncio.sleep(0.1)


def run_history(history: History, rates: tuple[float, ...]) -> ElectionRun:
    async def execute() -> ElectionRun:
        run = ElectionRun(rates)
        await run.run(history)
        await run.recover()
        return run

    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        return runner.run(execute())


@pytest.mark.slow
@given(HISTORIES, RATES)
def test_invariant_9_there_are_never_two_leaders_and_in_the_end_there_is_one(
    history: History, rates: tuple[float, ...]
) -> None:
    run = run_history(history, rates)
    assert run.max_leaders <= 1
    assert run.final_leaders == 1
    writes = run.server.writes
    assert [lease.epoch for lease in writes] == sorted(lease.epoch for lease in writes)
    terms = {(lease.epoch, lease.holder) for lease in writes if lease.holder}
    assert len(terms) == len({epoch for epoch, _ in terms})


STOPPED = [(5.0, 0, "stop"), (25.0, 1, "repair")]
CUT = [(5.0, 0, "cut"), (25.0, 1, "repair")]


@pytest.mark.parametrize("history", [STOPPED, CUT], ids=["stopped", "cut off"])
def test_without_the_margin_two_leaders_are_detected(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leader_election, "RENEW_DEADLINE", LEASE_DURATION + 5)
    assert run_history(history, (1.0, 1.0, 1.0)).max_leaders == 2
