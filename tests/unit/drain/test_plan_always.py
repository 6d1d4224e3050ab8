"""Properties of every plan, whatever commands were sent and whatever was reported."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue_operator.drain.protocol import State, Verb
from taskqueue_operator.drain.replicaset_order import CANDIDATE_COST
from taskqueue_operator.drain.worker_state import WorkerState

from .scenario import DrainScenario

EVENTS: tuple[Callable[[DrainScenario, str, st.DrawFn], object], ...] = (
    lambda scenario, name, _: scenario.drain(name),
    lambda scenario, name, draw: scenario.drain(name, state=State.DRAINING, in_flight=draw(st.integers(0, 3))),
    lambda scenario, name, _: scenario.undrain(name),
    lambda scenario, name, _: scenario.send(name),
    lambda scenario, name, draw: scenario.refuse(name, draw(st.sampled_from(State))),
    lambda scenario, name, draw: scenario.report(name, draw(st.sampled_from(State)), in_flight=draw(st.integers(0, 3))),
    lambda scenario, name, _: scenario.change_pod(name, container_stopped=True, ready=False),
    lambda scenario, name, draw: scenario.change_pod(name, container_stopped=False, ready=draw(st.booleans())),
    lambda scenario, name, _: scenario.change_pod(name, cost=CANDIDATE_COST, cost_is_managed=True),
)


@st.composite
def scenarios(draw: st.DrawFn) -> DrainScenario:
    """Any pool, after any commands and reports."""
    scenario = DrainScenario("abcdef"[: draw(st.integers(1, 6))])
    for _ in range(draw(st.integers(0, 20))):
        name = draw(st.sampled_from(sorted(scenario.pods)))
        scenario.wait(draw(st.sampled_from([0, 0, 1, 3, 10, 30])))
        draw(st.sampled_from(EVENTS))(scenario, name, draw)
    return scenario


@pytest.mark.slow
@given(scenario=scenarios(), desired=st.integers(0, 7), running=st.booleans(), empty=st.booleans())
def test_replicas_are_never_below_the_number_of_workers_that_are_not_removable(
    scenario: DrainScenario, desired: int, *, running: bool, empty: bool
) -> None:
    made = scenario.plan(desired, running=running, empty=empty)
    kept = [worker for worker in scenario.pool.active if not worker.is_removable(scenario.now)]
    if made.scale_in_to is not None:
        assert max(desired, len(kept)) <= made.scale_in_to < scenario.deployment.replicas
        assert made.scale_in_to > 0 or empty


@pytest.mark.slow
@given(scenarios(), st.integers(0, 6))
def test_more_demand_never_adds_candidates(scenario: DrainScenario, desired: int) -> None:
    assert set(scenario.candidates(desired + 1)) <= set(scenario.candidates(desired))


@pytest.mark.slow
@given(scenarios(), st.integers(0, 7))
def test_no_worker_is_sent_two_drains_or_an_undrain_too_and_no_unreachable_one_is_sent_anything(
    scenario: DrainScenario, desired: int
) -> None:
    made = scenario.plan(desired)
    workers = made.workers(Verb.DRAIN, Verb.UNDRAIN)
    assert len({worker.uid for worker in workers}) == len(workers)
    for worker in made.workers():
        assert worker.state(scenario.now) not in {WorkerState.SILENT, WorkerState.NO_CONTAINER, WorkerState.LEAVING}


@pytest.mark.slow
@given(scenarios(), st.integers(0, 7))
def test_a_worker_that_refused_is_sent_no_drain_and_no_undrain_for_a_while(
    scenario: DrainScenario, desired: int
) -> None:
    """Each answer makes the operator plan at once: it would send commands without end."""
    workers = scenario.plan(desired).workers(Verb.DRAIN, Verb.UNDRAIN)
    assert not [worker.uid for worker in workers if worker.recently_refused(scenario.now)]


@pytest.mark.slow
@given(scenarios(), st.integers(0, 7))
def test_desired_workers_go_on_consuming_when_a_consuming_one_is_drained(scenario: DrainScenario, desired: int) -> None:
    made = scenario.plan(desired)
    consuming = [worker for worker in scenario.pool.active if worker.state(scenario.now) is WorkerState.CONSUMING]
    newly_drained = {
        worker.uid
        for worker in made.workers(Verb.DRAIN)
        if worker in consuming and not worker.drain_requested(scenario.pool.installation, scenario.now)
    }
    if newly_drained:
        assert len(consuming) - len(newly_drained) >= desired
