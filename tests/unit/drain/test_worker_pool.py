"""What is known of workers, and what no longer counts."""

from datetime import timedelta

import pytest

from taskqueue_operator.drain.protocol import Drain, Result, State, Verb
from taskqueue_operator.drain.worker_pool import WorkerPool
from taskqueue_operator.drain.worker_state import RemovedState, WorkerState

from .stage import BARE, EPOCH, START, Stage, pod, report


@pytest.fixture
def stage() -> Stage:
    return Stage()


def standing(stage: Stage, name: str) -> WorkerState:
    return stage.worker(name).standing(stage.now)


def proved(stage: Stage, name: str) -> bool:
    return stage.worker(name).is_removable(stage.now)


def test_a_report_never_replaces_one_with_a_higher_number(stage: Stage) -> None:
    stage.crew.see(report("a", 9, State.DRAINING), "there", stage.now)
    stage.crew.see(report("a", 8, State.CONSUMING), "elsewhere", stage.now)
    assert standing(stage, "a") is WorkerState.DRAINING
    assert stage.worker("a").address == "there"


def test_a_new_incarnation_voids_what_was_known_of_the_former(stage: Stage) -> None:
    stage.drain("a")
    stage.crew.see(report("a", 1, State.STARTING, incarnation="1" * 32), "there", stage.now)
    worker = stage.worker("a")
    assert (standing(stage, "a"), proved(stage, "a"), worker.sent, worker.drained_at) == (
        WorkerState.STARTING,
        False,
        None,
        None,
    )
    assert stage.crew.command("a", Verb.DRAIN, stage.now).incarnation == "1" * 32


def test_a_late_answer_of_a_former_incarnation_proves_nothing(stage: Stage) -> None:
    stage.tell("a")
    stage.crew.see(report("a", 1, incarnation="1" * 32), "there", stage.now)
    stage.answer("a", State.DRAINED)
    assert not proved(stage, "a")


def test_a_former_incarnation_that_was_heard_late_does_not_silence_the_present_one(stage: Stage) -> None:
    for number in range(1, 4):
        stage.crew.see(report("a", number, State.DRAINED, incarnation="1" * 32), "there", stage.now)
        stage.say("a", State.CONSUMING)
    stage.crew.see(report("a", 2, State.DRAINED, incarnation="1" * 32), "there", stage.now)
    assert standing(stage, "a") is WorkerState.CONSUMING


def test_a_worker_is_removable_when_it_answered_drained_to_a_renewal_sent_less_than_five_seconds_ago(
    stage: Stage,
) -> None:
    stage.tell("a")
    stage.wait(4)
    stage.answer("a", State.DRAINED)
    assert proved(stage, "a")
    stage.wait(1)
    assert not proved(stage, "a")


def test_a_drained_worker_is_not_removable_without_an_answer(stage: Stage) -> None:
    stage.tell("a")
    stage.say("a", State.DRAINED, drain=Drain("default", EPOCH, 1))
    assert standing(stage, "a") is WorkerState.DRAINED
    assert not proved(stage, "a")


def test_an_answer_to_an_earlier_command_proves_nothing(stage: Stage) -> None:
    stage.tell("a")
    earlier = stage.commands["a"]
    stage.tell("a")
    stage.commands["a"] = earlier
    stage.answer("a", State.DRAINED)
    assert not proved(stage, "a")


@pytest.mark.parametrize("drain", [Drain("default", EPOCH - 1, 1), Drain("another", EPOCH, 1), None])
def test_only_drained_in_this_epoch_and_by_this_installation_is_removable(stage: Stage, drain: Drain | None) -> None:
    stage.tell("a")
    stage.answer("a", State.DRAINED, drain=drain)
    assert not proved(stage, "a")


@pytest.mark.parametrize("state", [State.DRAINING, State.CONSUMING, State.STARTING, State.LEAVING])
def test_a_contrary_later_report_voids_what_was_proved(stage: Stage, state: State) -> None:
    stage.drain("a")
    stage.say("a", state)
    assert not proved(stage, "a")


def test_a_refusal_proves_nothing(stage: Stage) -> None:
    stage.drain("a", state=State.DRAINED, result=Result.REFUSED)
    assert not proved(stage, "a")


def test_who_was_asked_back_is_not_removable_from_that_moment_on(stage: Stage) -> None:
    stage.drain("a")
    stage.tell("a", Verb.UNDRAIN)
    assert not proved(stage, "a")


def test_a_restart_that_the_api_shows_voids_what_was_proved(stage: Stage) -> None:
    stage.drain("a")
    stage.show("a", restarts=1)
    assert not proved(stage, "a")


def test_a_worker_that_has_not_reported_for_45_seconds_is_silent(stage: Stage) -> None:
    stage.wait(44.9)
    assert standing(stage, "a") is WorkerState.CONSUMING
    stage.wait(0.1)
    assert standing(stage, "a") is WorkerState.SILENT


def test_a_worker_that_never_reported_is_silent_after_45_seconds(stage: Stage) -> None:
    stage.show("new")
    assert standing(stage, "new") is WorkerState.STARTING
    stage.wait(45)
    assert standing(stage, "new") is WorkerState.SILENT


def test_a_pod_in_which_by_the_api_no_container_runs_is_removable(stage: Stage) -> None:
    stage.wait(1)
    stage.show("a", **BARE)
    assert standing(stage, "a") is WorkerState.NO_CONTAINER
    assert proved(stage, "a")


def test_a_report_after_that_contradicts_the_api(stage: Stage) -> None:
    stage.wait(1)
    stage.show("a", **BARE)
    stage.crew.see(report("a", 1, State.STARTING, incarnation="1" * 32), "there", stage.now)
    assert standing(stage, "a") is WorkerState.STARTING
    assert not proved(stage, "a")


def test_a_report_that_is_ahead_of_its_pod_is_kept_and_contradicts_a_late_one(stage: Stage) -> None:
    stage.say("new", State.STARTING)
    stage.wait(2)
    stage.show("new", **BARE)
    assert standing(stage, "new") is WorkerState.STARTING


def test_reports_of_pods_that_never_appear_are_forgotten(stage: Stage) -> None:
    stage.say("elsewhere")
    stage.wait(50)
    stage.show()
    stage.show("elsewhere")
    assert stage.worker("elsewhere").report is None


def test_reports_of_pods_that_never_appear_do_not_heap_up(stage: Stage) -> None:
    for number in range(1, 100):
        stage.crew.see(report("elsewhere", number), "there", stage.now)
        stage.wait(15)
    assert len(stage.crew._early["elsewhere"]) == 3


def test_a_worker_outside_of_kubernetes_has_no_pod_and_counts_for_nothing(stage: Stage) -> None:
    stage.crew.see(report("", 1), "there", stage.now)
    assert [worker.uid for worker in stage.crew.live] == ["a", "b", "c"]


def test_pods_that_are_going_or_have_ended_are_no_workers_any_more(stage: Stage) -> None:
    gone = stage.show("a", deleting=True) + stage.show("b", finished=True)
    del stage.pods["c"]
    gone += stage.show()
    assert [worker.uid for worker in gone] == ["a", "b", "c"]
    assert stage.crew.live == []


def test_nobody_is_commanded_of_whom_nothing_was_heard(stage: Stage) -> None:
    stage.show("new")
    with pytest.raises(LookupError):
        stage.crew.command("new", Verb.DRAIN, stage.now)


def test_every_command_has_an_id_of_its_own_and_the_order_that_stands_on_the_deployment(stage: Stage) -> None:
    stage.turn(mark=f"{EPOCH}.4")
    one, other = stage.crew.command("a", Verb.DRAIN, stage.now), stage.crew.command("a", Verb.DRAIN, stage.now)
    assert one.id != other.id
    assert (one.epoch, one.seq, one.installation) == (EPOCH, 4, "default")


def test_seq_rises_even_when_the_annotation_was_removed_in_between(stage: Stage) -> None:
    stage.turn(mark=f"{EPOCH}.4")
    stage.turn(mark="")
    assert stage.crew.seq == 4


def test_what_a_worker_did_when_its_pod_went_is_told(stage: Stage) -> None:
    stage = Stage("abcdef")
    stage.drain("a")
    stage.drain("b", state=State.DRAINING, in_flight=1)
    stage.say("c", in_flight=1)
    stage.wait(1)
    stage.show("e", **BARE)
    told = {name: stage.worker(name).victim() for name in "abcde"}
    assert told == {
        "a": RemovedState.DRAINED,
        "b": RemovedState.DRAINING,
        "c": RemovedState.BUSY,
        "d": RemovedState.UNKNOWN,
        "e": RemovedState.NO_CONTAINER,
    }


@pytest.mark.parametrize(("before", "in_flight", "told"), [("drained", 0, "drained"), ("consuming", 1, "busy")])
def test_what_it_says_on_sigterm_does_not_hide_what_it_did(
    stage: Stage, before: State, in_flight: int, told: str
) -> None:
    stage.say("a", State(before))
    stage.say("a", State.LEAVING, in_flight=in_flight)
    assert stage.worker("a").victim() == told


def test_a_fresh_crew_assumes_that_a_lower_number_is_on_its_way_until_the_view_is_settled() -> None:
    crew = WorkerPool("default", EPOCH, START)
    stage = Stage(replicas=2)
    crew.observe(stage.deployment, stage.pods.values(), START)
    assert crew.lowering is not None
    crew.observe(stage.deployment, [pod("a"), pod("b")], START)
    assert crew.lowering is not None  # its status still says three
    stage.turn(live=2)
    crew.observe(stage.deployment, [pod("a"), pod("b")], START)
    assert crew.lowering is None


def test_whoever_left_another_mark_may_have_lowered_the_number_until_it_is_replaced(stage: Stage) -> None:
    stage.turn(mark=f"{EPOCH - 1}.3")
    assert stage.crew.lowering is not None
    stage.turn(mark=f"{EPOCH}.1")
    assert stage.crew.lowering is None


class TestLowering:
    def test_may_come_until_its_condition_no_longer_holds(self, stage: Stage) -> None:
        stage.crew.begin_scale_in(stage.deployment, stage.now)
        assert stage.crew.scale_in_may_still_apply(stage.deployment)
        stage.turn(mark=f"{EPOCH}.2")
        assert stage.crew.lowering is None

    def test_is_over_when_as_many_pods_are_left(self, stage: Stage) -> None:
        stage.crew.begin_scale_in(stage.deployment, stage.now)
        stage.turn(replicas=2, generation=2)
        stage.turn(observed_generation=2, live=2)
        assert stage.crew.lowering is not None
        stage.show("a", deleting=True)
        assert stage.crew.lowering is None

    def test_is_not_over_because_the_number_was_raised_again(self, stage: Stage) -> None:
        """The ReplicaSet may still be removing pods, by the number in between."""
        stage.crew.begin_scale_in(stage.deployment, stage.now)
        stage.turn(replicas=3, generation=3, observed_generation=3)
        assert stage.crew.lowering is not None
        stage.wait(10)
        stage.show()
        assert stage.crew.lowering is None

    def test_is_not_over_while_the_controllers_do_nothing(self, stage: Stage) -> None:
        stage.crew.begin_scale_in(stage.deployment, stage.now)
        stage.turn(replicas=2, generation=2)
        for observed in (1, 2):
            stage.turn(observed_generation=observed)
            stage.wait(60)
            stage.show()
            assert stage.crew.lowering is not None


def test_a_lease_holds_for_less_than_a_minute_from_the_renewal_that_was_answered(stage: Stage) -> None:
    stage.drain("a")
    assert stage.worker("a").holds_lease(stage.now + timedelta(seconds=54))
    assert not stage.worker("a").holds_lease(stage.now + timedelta(seconds=55))


def test_a_pod_that_no_replica_set_made_is_none_of_the_crew(stage: Stage) -> None:
    stage.show("z", replica_set="")
    assert stage.crew.worker("z") is None
