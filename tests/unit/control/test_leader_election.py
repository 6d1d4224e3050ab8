"""There is one writer at a time, whatever happens to processes, connections and clocks."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
async def test_a_short_outage_changes_no_leader(server: LeaseServer) -> None:
    leader, _ = await start_two(server)
    for _ in range(10):
        leader.connection.cut = True
        await asyncio.sleep(HARMLESS_OUTAGE)
        leader.connection.cut = False
        await asyncio.sleep(6.1)
    assert leader.is_leader()
    assert not leader.lost_reasons


@pytest.mark.slow
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


@pytest.mark.slow
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
