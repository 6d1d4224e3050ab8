"""The rules by which workers go and come back, each by its name."""

from typing import Any

import pytest

from taskqueue_operator.drain.plan import Plan, Remark
from taskqueue_operator.drain.protocol import Drain, FencingToken, State, Verb
from taskqueue_operator.drain.replicaset_order import COST
from taskqueue_operator.drain.scale_in import Blocker
from taskqueue_operator.drain.worker_pool import WorkerPool

from .stage import BARE, EPOCH, MARK, Stage, names

BUSY: dict[str, Any] = {"state": State.DRAINING, "in_flight": 1}


@pytest.fixture
def stage() -> Stage:
    return Stage()


class TestWhoGoes:
    def test_only_as_many_as_are_superfluous(self, stage: Stage) -> None:
        assert len(stage.plan(2).drain) == 1
        assert stage.plan(3).drain == stage.plan(5).drain == ()

    def test_those_idle_longest_first_then_those_with_the_fewest_in_flight(self, stage: Stage) -> None:
        stage.say("a", in_flight=2)
        stage.say("b", in_flight=1)
        stage.say("c", idle_seconds=3)
        assert [names(stage.plan(desired).drain) for desired in (2, 1, 0)] == ["c", "bc", "abc"]

    def test_who_does_not_answer_when_it_is_asked_for_its_word_comes_last(self, stage: Stage) -> None:
        stage.say("a", idle_seconds=100)
        stage.wait(3)
        stage.tell("a", Verb.REPORT)
        stage.wait(2)
        assert names(stage.plan(2).drain) in {"b", "c"}
        stage.say("a", idle_seconds=102)
        assert names(stage.plan(2).drain) == "a"

    def test_pods_without_a_container_are_the_first_to_go_and_need_no_command(self, stage: Stage) -> None:
        stage.wait(1)
        stage.show("b", phase="Pending", assigned=False, **BARE)
        made = stage.priced(2)
        assert (made.drain, made.lower_to) == ((), 2)

    def test_pods_that_cannot_be_scheduled_go_before_workers_that_work(self) -> None:
        stage = Stage("abcdef")
        stage.wait(1)
        for name in "def":
            stage.show(name, phase="Pending", assigned=False, **BARE)
        assert names(stage.plan(2).drain) == "a"
        assert stage.priced(2).lower_to == 3

    def test_who_starts_goes_before_who_works(self, stage: Stage) -> None:
        stage.say("c", State.STARTING)
        assert names(stage.plan(2).drain) == "c"

    def test_the_draining_set_is_sticky(self, stage: Stage) -> None:
        stage.drain("a", **BUSY)
        for name in "bc":
            stage.say(name, idle_seconds=100)
        made = stage.plan(2)
        assert (made.drain, made.undrain) == ((), ())

    def test_it_is_changed_only_by_the_difference(self, stage: Stage) -> None:
        stage.drain("a", **BUSY)
        stage.say("b", idle_seconds=100)
        made = stage.plan(1)
        assert (names(made.drain), made.undrain) == ("b", ())

    def test_silence_is_no_reason_to_go_and_is_named(self, stage: Stage) -> None:
        stage.wait(50)
        stage.say("a")
        stage.say("b")
        made = stage.plan(1)
        assert names(made.drain) == "a"
        assert [key.name for key in made.silent] == ["c"]

    def test_min_replicas_counts_workers_that_consume(self) -> None:
        """A worker that is silent, crashes or starts is no substitute for one that works."""
        stage = Stage("abcde")
        stage.wait(50)
        for name in "abc":
            stage.say(name)
        assert stage.plan(3).drain == ()

    def test_who_refuses_is_asked_again_at_the_next_renewal_and_not_before(self, stage: Stage) -> None:
        stage.say("a", idle_seconds=100)
        stage.refuse("a", State.CONSUMING)
        assert names(stage.plan(2).drain) == "b"
        stage.wait(20)
        stage.say("a", idle_seconds=100)
        assert names(stage.plan(2).drain) == "a"

    def test_who_is_idle_and_has_refused_is_waited_for_before_anybody_is_asked_who_runs_a_task(
        self, stage: Stage
    ) -> None:
        stage.say("a", idle_seconds=9)
        for name in "bc":
            stage.say(name, in_flight=1)
        assert names(stage.plan(2).drain) == "a"
        stage.refuse("a", State.CONSUMING, idle_seconds=9)
        assert stage.plan(2).drain == ()
        stage.wait(20)
        for name in "bc":
            stage.say(name, in_flight=1)
        stage.say("a", idle_seconds=29)
        assert names(stage.plan(2).drain) == "a"

    def test_who_is_drained_and_refuses_to_prove_it_is_asked_again_at_the_next_renewal(self, stage: Stage) -> None:
        """As happens to an operator that does not lead any more: each answer makes it plan anew, at once."""
        stage.drain("a")
        stage.wait(4)
        assert names(stage.priced(2).renew) == "a"
        stage.refuse("a", State.DRAINED)
        made = stage.plan(2)
        assert (made.drain, made.renew, made.undrain, made.lower_to) == ((), (), (), None)
        assert stage.plan(3).undrain == (), "that would be refused as well"
        stage.wait(20)
        stage.say("a", State.DRAINED, drain=Drain("default", EPOCH + 1, 1))
        assert names(stage.plan(2).renew) == "a"
        assert names(stage.plan(3).undrain) == "a"

    def test_nobody_is_drained_without_a_leader_of_the_queue(self, stage: Stage) -> None:
        made = stage.plan(2, running=False)
        assert (made.drain, made.waiting_for) == ((), Blocker.QUEUE)

    def test_who_is_drained_by_another_installation_is_left_alone(self, stage: Stage) -> None:
        stage.say("a", State.DRAINED, drain=Drain("another", 1, 1))
        assert names(stage.plan(0).drain) == "bc"
        assert stage.plan(3).undrain == ()


class TestWhoComesBack:
    def test_demand_returning_means_undrain_at_once(self, stage: Stage) -> None:
        stage.drain("a", "b")
        assert names(stage.plan(3).undrain) == "ab"
        assert names(stage.plan(30).undrain) == "ab"

    def test_drained_ones_first_then_those_with_most_in_flight(self, stage: Stage) -> None:
        stage.drain("a", state=State.DRAINING, in_flight=1)
        stage.drain("b", state=State.DRAINING, in_flight=4)
        stage.drain("c")
        assert [names(stage.plan(desired).undrain) for desired in (1, 2, 3)] == ["c", "bc", "abc"]

    def test_who_may_have_obeyed_a_drain_without_an_answer_is_asked_back_too(self, stage: Stage) -> None:
        stage.tell("a")
        assert names(stage.plan(3).undrain) == "a"

    def test_an_undrain_without_an_answer_is_repeated_after_five_seconds(self, stage: Stage) -> None:
        stage.drain("a")
        stage.tell("a", Verb.UNDRAIN)
        assert stage.plan(3).undrain == ()
        stage.wait(5)
        assert names(stage.plan(3).undrain) == "a"

    def test_who_was_drained_by_a_former_operator_and_is_not_to_go_is_asked_back(self, stage: Stage) -> None:
        stage.say("a", State.DRAINED, drain=Drain("default", EPOCH - 1, 1))
        assert names(stage.plan(3).undrain) == "a"

    def test_nobody_is_asked_back_while_pods_are_being_removed(self, stage: Stage) -> None:
        stage.drain("a")
        stage.crew.begin_scale_in(stage.deployment, stage.now)
        stage.turn(replicas=2, generation=2)
        made = stage.plan(3)
        assert (made.undrain, made.waiting_for) == ((), Blocker.REMOVAL)


class TestLease:
    def test_is_renewed_every_20_seconds(self, stage: Stage) -> None:
        stage.drain("a", **BUSY)
        stage.wait(19)
        assert stage.plan(2).renew == ()
        stage.wait(1)
        assert names(stage.plan(2).renew) == "a"

    def test_a_command_without_an_answer_within_five_seconds_is_as_if_it_had_not_been_sent(self, stage: Stage) -> None:
        stage.tell("a")
        stage.wait(5)
        stage.say("a")
        made = stage.plan(2)
        assert names((*made.drain, *made.renew)) in {"a", "b", "c"}

    def test_is_renewed_until_the_pod_is_terminating(self, stage: Stage) -> None:
        stage.drain("a")
        stage.crew.begin_scale_in(stage.deployment, stage.now)
        stage.turn(replicas=2, generation=2, observed_generation=2)
        stage.wait(20)
        stage.say("a", State.DRAINED, drain=Drain("default", EPOCH, 1))
        assert names(stage.plan(2).renew) == "a"

    def test_of_one_drained_by_a_former_operator_is_taken_over_at_once(self, stage: Stage) -> None:
        stage.say("a", State.DRAINING, drain=Drain("default", EPOCH - 1, 1), in_flight=1)
        made = stage.plan(2)
        assert (made.drain, names(made.renew)) == ((), "a")

    def test_is_renewed_without_a_leader_of_the_queue_only_where_nothing_is_consumed(self, stage: Stage) -> None:
        stage.drain("a", **BUSY)
        stage.tell("b")
        stage.wait(20)
        assert names(stage.plan(1, running=False).renew) == "a"


class TestFencing:
    def test_the_annotation_stands_before_the_first_drain(self) -> None:
        stage = Stage(mark="")
        made = stage.plan(2)
        assert (made.remark, made.drain) == (Remark("", MARK), ())
        stage.turn(mark=MARK)
        assert len(stage.plan(2).drain) == 1

    def test_and_before_anything_is_lowered(self) -> None:
        stage = Stage(mark="")
        stage.drain("a", "b", "c")
        made = stage.plan(0, empty=True)
        assert (made.remark, made.lower_to) == (Remark("", MARK), None)

    def test_and_before_any_cost_is_cleared(self) -> None:
        """A deposed operator may be about to lower the number by just that cost."""
        stage = Stage(mark="")
        stage.show("a", cost=COST, cost_is_managed=True)
        made = stage.plan(3)
        assert (made.remark, made.costs) == (Remark("", MARK), {})
        stage.turn(mark=MARK)
        assert dict(stage.plan(3).costs) == {"a": None}

    def test_it_is_removed_when_nobody_is_drained(self, stage: Stage) -> None:
        stage.drain("a")
        stage.undrain("a")
        assert stage.plan(3).remark == Remark(MARK, "")

    def test_and_not_while_somebody_may_be(self, stage: Stage) -> None:
        stage.drain("a")
        stage.tell("a", Verb.UNDRAIN)
        assert stage.plan(3).remark is None

    def test_and_not_before_every_worker_had_time_to_report_to_a_new_leader(self, stage: Stage) -> None:
        """Who was drained by the former one would not be asked back."""
        stage.crew = WorkerPool("default", EPOCH, stage.now)
        assert stage.plan(3).remark is None
        stage.wait(20)
        assert stage.plan(3).remark == Remark(MARK, "")

    def test_and_not_before_the_deployments_controller_has_seen_it(self) -> None:
        stage = Stage("abc", mark="")
        stage.wait(1)
        stage.show("a", **BARE)
        assert stage.priced(2).remark is not None
        stage.turn(mark=MARK, generation=2)
        unsettled = stage.plan(2)
        assert (unsettled.remark, unsettled.waiting_for) == (None, Blocker.SETTLING)
        stage.turn(observed_generation=2)
        assert stage.priced(2).lower_to == 2

    @pytest.mark.parametrize("found", [f"{EPOCH - 1}.9", "somebody's"])
    def test_a_new_leader_replaces_every_annotation_it_finds_before_it_commands(self, found: str) -> None:
        stage = Stage(mark=found)
        stage.say("a", State.DRAINED, drain=Drain("default", EPOCH - 1, 9))
        for desired in (0, 3):
            made = stage.plan(desired)
            assert made == Plan(remark=Remark(found, MARK), waiting_for=made.waiting_for)

    def test_a_deposed_operator_does_nothing(self, stage: Stage) -> None:
        stage.drain("a")
        stage.turn(mark=str(FencingToken(EPOCH + 1, 1)))
        for desired in (0, 3):
            assert stage.plan(desired) == Plan(waiting_for=Blocker.ANOTHER)

    def test_after_a_lowering_without_an_answer_seq_is_raised_before_anything_else(self, stage: Stage) -> None:
        stage.drain("a")
        stage.priced(2)
        stage.crew.begin_scale_in(stage.deployment, stage.now)
        for desired in (0, 2, 3):
            assert stage.plan(desired) == Plan(remark=Remark(MARK, f"{EPOCH}.2"), waiting_for=Blocker.REMOVAL)
        stage.turn(mark=f"{EPOCH}.2")
        assert names(stage.plan(3).undrain) == "a"

    def test_seq_is_raised_before_a_drain_that_follows_an_undrain(self, stage: Stage) -> None:
        """Or the undrain, if it comes late, would undo the drain."""
        stage.drain("a", "b")
        stage.undrain("a")
        assert stage.plan(0).remark == Remark(MARK, f"{EPOCH}.2")


class TestWhatIsWaitedFor:
    def test_running_tasks(self, stage: Stage) -> None:
        stage.drain("a", **BUSY)
        assert stage.plan(2).waiting_for is Blocker.TASKS

    def test_workers_that_can_be_asked(self, stage: Stage) -> None:
        stage.wait(50)
        assert stage.plan(2).waiting_for is Blocker.WORKERS

    def test_nothing(self, stage: Stage) -> None:
        assert stage.plan(3).waiting_for is Blocker.NOTHING
