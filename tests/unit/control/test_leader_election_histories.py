"""There is one writer at a time in random histories of processes, connections and clocks."""

import asyncio

import looptime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue_operator.control import leader_election
from taskqueue_operator.control.leader_election import LEASE_DURATION, RENEW_DEADLINE

from .competing_leaders import LeaseServer, OperatorProcess

pytestmark = pytest.mark.looptime

KILL_TAKEOVER = 20.0
"""Seconds for a takeover after a kill."""

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


@pytest.mark.slow
@pytest.mark.parametrize("history", [STOPPED, CUT], ids=["stopped", "cut off"])
def test_without_the_margin_two_leaders_are_detected(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leader_election, "RENEW_DEADLINE", LEASE_DURATION + 5)
    assert run_history(history, (1.0, 1.0, 1.0)).max_leaders == 2
