"""What holds of every plan, whatever workers were told and have said."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from taskqueue_operator.drain.context import DrainContext, QueueState
from taskqueue_operator.drain.protocol import State
from taskqueue_operator.drain.replicaset_order import COST
from taskqueue_operator.drain.worker_state import WorkerState

from .stage import Stage

EVENTS: tuple[Callable[[Stage, str, st.DrawFn], object], ...] = (
    lambda stage, name, _: stage.drain(name),
    lambda stage, name, draw: stage.drain(name, state=State.DRAINING, in_flight=draw(st.integers(0, 3))),
    lambda stage, name, _: stage.undrain(name),
    lambda stage, name, _: stage.tell(name),
    lambda stage, name, draw: stage.refuse(name, draw(st.sampled_from(State))),
    lambda stage, name, draw: stage.say(name, draw(st.sampled_from(State)), in_flight=draw(st.integers(0, 3))),
    lambda stage, name, _: stage.show(name, bare=True, ready=False),
    lambda stage, name, draw: stage.show(name, bare=False, ready=draw(st.booleans())),
    lambda stage, name, _: stage.show(name, cost=COST, cost_is_managed=True),
)


@st.composite
def stages(draw: st.DrawFn) -> Stage:
    """Any crew, whatever its workers were told and have said."""
    stage = Stage("abcdef"[: draw(st.integers(1, 6))])
    for _ in range(draw(st.integers(0, 20))):
        name = draw(st.sampled_from(sorted(stage.pods)))
        stage.wait(draw(st.sampled_from([0, 0, 1, 3, 10, 30])))
        draw(st.sampled_from(EVENTS))(stage, name, draw)
    return stage


@given(stage=stages(), desired=st.integers(0, 7), running=st.booleans(), empty=st.booleans())
def test_never_below_the_number_of_workers_that_may_not_be_removed(
    stage: Stage, desired: int, *, running: bool, empty: bool
) -> None:
    made = stage.plan(desired, running=running, empty=empty)
    scale_in_blocked = [worker for worker in stage.crew.live if not worker.is_removable(stage.now)]
    if made.lower_to is not None:
        assert max(desired, len(scale_in_blocked)) <= made.lower_to < stage.deployment.replicas
        assert made.lower_to > 0 or empty


@given(stages(), st.integers(0, 6))
def test_more_demand_never_lets_more_workers_go(stage: Stage, desired: int) -> None:
    stage.show()
    less, more = (
        {
            each.uid
            for each in DrainContext(stage.crew, stage.deployment, QueueState(running=True), wanted, stage.now).chosen
        }
        for wanted in (desired, desired + 1)
    )
    assert more <= less


@given(stages(), st.integers(0, 7))
def test_nobody_is_told_two_things_and_nobody_who_cannot_hear_is_told_anything(stage: Stage, desired: int) -> None:
    made = stage.plan(desired)
    assert not {each.uid for each in made.undrain} & {each.uid for each in (*made.drain, *made.renew)}
    for worker in (*made.drain, *made.renew, *made.undrain):
        assert worker.standing(stage.now) not in {WorkerState.SILENT, WorkerState.NO_CONTAINER, WorkerState.LEAVING}


@given(stages(), st.integers(0, 7))
def test_who_refuses_is_left_alone_for_a_while(stage: Stage, desired: int) -> None:
    """Each answer has the operator plan anew: it would be asked without end."""
    made = stage.plan(desired)
    assert not [each.uid for each in (*made.drain, *made.renew, *made.undrain) if each.refuses(stage.now)]


@given(stages(), st.integers(0, 7))
def test_enough_others_consume_when_somebody_who_consumes_is_asked_to_go(stage: Stage, desired: int) -> None:
    made = stage.plan(desired)
    consuming = [worker for worker in stage.crew.live if worker.standing(stage.now) is WorkerState.CONSUMING]
    asked = {worker.uid for worker in made.drain if worker in consuming}
    if asked:
        assert len(consuming) - len(asked) >= desired
