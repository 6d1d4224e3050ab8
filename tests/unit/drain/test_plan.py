"""The rules by which workers are drained and undrained, each by its name."""

from typing import Any

import pytest

from taskqueue_operator.drain.protocol import Drain, State, Verb
from taskqueue_operator.drain.scale_in import Blocker

from .builders import EPOCH, NO_CONTAINER
from .scenario import DrainScenario

BUSY: dict[str, Any] = {"state": State.DRAINING, "in_flight": 1}


@pytest.fixture
def scenario() -> DrainScenario:
    return DrainScenario()


class TestDrain:
    def test_only_surplus_workers_are_drained(self, scenario: DrainScenario) -> None:
        assert len(scenario.plan(2).drains) == 1
        assert scenario.plan(3).drains == scenario.plan(5).drains == ""

    def test_the_longest_idle_worker_is_drained_first_then_the_worker_with_the_fewest_tasks_in_flight(
        self, scenario: DrainScenario
    ) -> None:
        scenario.report("a", in_flight=2)
        scenario.report("b", in_flight=1)
        scenario.report("c", idle_seconds=3)
        assert [scenario.plan(desired).drains for desired in (2, 1, 0)] == ["c", "bc", "abc"]

    def test_a_worker_whose_requested_report_is_overdue_is_the_last_candidate(self, scenario: DrainScenario) -> None:
        scenario.report("a", idle_seconds=100)
        scenario.wait(3)
        scenario.send("a", Verb.REPORT)
        scenario.wait(2)
        for name in "bc":
            scenario.report(name)
        assert scenario.plan(2).drains in {"b", "c"}
        scenario.report("a", idle_seconds=102)
        assert scenario.plan(2).drains == "a"

    def test_pods_without_a_container_are_removed_first_and_need_no_command(self, scenario: DrainScenario) -> None:
        scenario.wait(1)
        scenario.change_pod("b", phase="Pending", assigned=False, **NO_CONTAINER)
        assert scenario.candidates(2) == "b"
        made = scenario.plan_after_costs(2)
        assert (made.drains, made.scale_in_to) == ("", 2)

    def test_unschedulable_pods_are_removed_before_workers_that_consume(self) -> None:
        scenario = DrainScenario("abcdef")
        scenario.wait(1)
        for name in "def":
            scenario.change_pod(name, phase="Pending", assigned=False, **NO_CONTAINER)
        assert scenario.candidates(2) == "adef"
        assert scenario.plan_after_costs(2).scale_in_to == 3

    def test_a_starting_worker_is_drained_before_one_that_consumes(self, scenario: DrainScenario) -> None:
        scenario.report("c", State.STARTING)
        assert scenario.plan(2).drains == "c"

    def test_the_draining_set_is_sticky(self, scenario: DrainScenario) -> None:
        scenario.drain("a", **BUSY)
        for name in "bc":
            scenario.report(name, idle_seconds=100)
        made = scenario.plan(2)
        assert (made.drains, made.undrains) == ("", "")

    def test_the_draining_set_changes_only_by_the_difference(self, scenario: DrainScenario) -> None:
        scenario.drain("a", **BUSY)
        scenario.report("b", idle_seconds=100)
        made = scenario.plan(1)
        assert (made.drains, made.undrains) == ("b", "")

    def test_a_silent_worker_is_no_candidate_and_is_named(self, scenario: DrainScenario) -> None:
        scenario.wait(50)
        scenario.report("a")
        scenario.report("b")
        made = scenario.plan(1)
        assert made.drains == "a"
        assert made.unreported_pods == "c"

    def test_desired_counts_only_workers_that_consume(self) -> None:
        """A worker that is silent, crashing or starting does not replace a working one."""
        scenario = DrainScenario("abcde")
        scenario.wait(50)
        for name in "abc":
            scenario.report(name)
        assert scenario.plan(3).drains == ""

    def test_a_worker_that_refused_is_sent_a_drain_again_after_the_renewal_period_and_not_before(
        self, scenario: DrainScenario
    ) -> None:
        scenario.report("a", idle_seconds=100)
        scenario.refuse("a", State.CONSUMING)
        assert scenario.plan(2).drains == "b"
        scenario.wait(20)
        for name in "bc":
            scenario.report(name)
        scenario.report("a", idle_seconds=100)
        assert scenario.plan(2).drains == "a"

    def test_an_idle_worker_that_refused_is_awaited_before_a_busy_one_is_drained(self, scenario: DrainScenario) -> None:
        scenario.report("a", idle_seconds=9)
        for name in "bc":
            scenario.report(name, in_flight=1)
        assert scenario.plan(2).drains == "a"
        scenario.refuse("a", State.CONSUMING, idle_seconds=9)
        assert scenario.plan(2).drains == ""
        scenario.wait(20)
        for name in "bc":
            scenario.report(name, in_flight=1)
        scenario.report("a", idle_seconds=29)
        assert scenario.plan(2).drains == "a"

    def test_a_drained_worker_that_refuses_to_confirm_is_sent_a_drain_again_after_the_renewal_period(
        self, scenario: DrainScenario
    ) -> None:
        """A former leader is refused. Each answer makes it plan at once, so it would send commands without end."""
        scenario.drain("a")
        scenario.wait(4)
        assert scenario.plan_after_costs(2).drains == "a"
        scenario.refuse("a", State.DRAINED)
        made = scenario.plan(2)
        assert (made.drains, made.undrains, made.scale_in_to) == ("", "", None)
        assert scenario.plan(3).undrains == "", "it would be refused as well"
        scenario.wait(20)
        scenario.report("a", State.DRAINED, drain=Drain("default", EPOCH + 1, 1))
        assert scenario.plan(2).drains == "a"
        assert scenario.plan(3).undrains == "a"

    def test_no_worker_is_drained_without_a_leader_of_the_queue(self, scenario: DrainScenario) -> None:
        made = scenario.plan(2, running=False)
        assert (made.drains, made.blocked_by) == ("", Blocker.QUEUE)

    def test_a_worker_drained_by_another_installation_is_left_alone(self, scenario: DrainScenario) -> None:
        scenario.report("a", State.DRAINED, drain=Drain("another", 1, 1))
        assert scenario.plan(0).drains == "bc"
        assert scenario.plan(3).undrains == ""


class TestReportRequests:
    def test_reports_are_requested_before_workers_are_drained(self, scenario: DrainScenario) -> None:
        scenario.wait(2)
        first = scenario.plan(2)
        assert (first.report_requests, first.drains) == ("abc", "")
        for name in "abc":
            scenario.send(name, Verb.REPORT)
        scenario.report("a", in_flight=1)
        scenario.report("b", idle_seconds=9)
        awaited = scenario.plan(2)
        assert (awaited.report_requests, awaited.drains) == ("", "")
        scenario.report("c", idle_seconds=8)
        assert scenario.plan(2).drains == "b"

    def test_a_report_that_does_not_arrive_is_awaited_for_two_seconds(self, scenario: DrainScenario) -> None:
        scenario.wait(3)
        scenario.send("a", Verb.REPORT)
        scenario.wait(1.9)
        for name in "bc":
            scenario.report(name)
        assert scenario.plan(2).actions == ()
        scenario.wait(0.1)
        assert scenario.plan(2).drains in {"b", "c"}

    def test_hundreds_of_workers_whose_reports_are_spread_over_time_are_drained(self) -> None:
        names = [chr(0x4E00 + number) for number in range(300)]
        scenario = DrainScenario("".join(names))
        for name in names:
            scenario.wait(15 / len(names))
            scenario.report(name, in_flight=1)
        for _ in range(7):
            made = scenario.plan(0)
            if made.drains:
                break
            for name in made.report_requests:
                scenario.send(name, Verb.REPORT)
            scenario.wait(0.15)
            for name in made.report_requests:
                scenario.report(name, in_flight=1)
        assert len(made.drains) == 300

    def test_no_report_is_requested_while_no_worker_has_to_be_drained(self, scenario: DrainScenario) -> None:
        scenario.wait(30)
        assert scenario.plan(3).report_requests == ""


class TestUndrain:
    def test_returning_demand_undrains_at_once(self, scenario: DrainScenario) -> None:
        scenario.drain("a", "b")
        assert scenario.plan(3).undrains == "ab"
        assert scenario.plan(30).undrains == "ab"

    def test_a_drained_worker_is_undrained_first_then_the_worker_with_the_most_tasks_in_flight(
        self, scenario: DrainScenario
    ) -> None:
        scenario.drain("a", state=State.DRAINING, in_flight=1)
        scenario.drain("b", state=State.DRAINING, in_flight=4)
        scenario.drain("c")
        assert [scenario.plan(desired).undrains for desired in (1, 2, 3)] == ["c", "bc", "abc"]

    def test_a_worker_that_may_be_drained_without_an_answer_is_undrained_too(self, scenario: DrainScenario) -> None:
        scenario.send("a")
        assert scenario.plan(3).undrains == "a"

    def test_an_undrain_without_an_answer_is_repeated_after_five_seconds(self, scenario: DrainScenario) -> None:
        scenario.drain("a")
        scenario.send("a", Verb.UNDRAIN)
        assert scenario.plan(3).undrains == ""
        scenario.wait(5)
        assert scenario.plan(3).undrains == "a"

    def test_a_worker_drained_by_a_former_leader_is_undrained_unless_it_is_a_candidate(
        self, scenario: DrainScenario
    ) -> None:
        scenario.report("a", State.DRAINED, drain=Drain("default", EPOCH - 1, 1))
        assert scenario.plan(3).undrains == "a"

    def test_no_worker_is_undrained_while_pods_are_being_removed(self, scenario: DrainScenario) -> None:
        scenario.drain("a")
        scenario.begin_scale_in()
        scenario.change_deployment(replicas=2, generation=2)
        made = scenario.plan(3)
        assert (made.undrains, made.blocked_by) == ("", Blocker.REMOVAL)


class TestLease:
    def test_a_lease_is_renewed_every_20_seconds(self, scenario: DrainScenario) -> None:
        scenario.drain("a", **BUSY)
        scenario.wait(19)
        assert scenario.plan(2).drains == ""
        scenario.wait(1)
        assert scenario.plan(2).drains == "a"

    def test_a_command_without_an_answer_within_five_seconds_counts_as_not_sent(self, scenario: DrainScenario) -> None:
        scenario.send("a")
        scenario.wait(5)
        for name in "abc":
            scenario.report(name)
        assert scenario.plan(2).drains in {"a", "b", "c"}

    def test_a_lease_is_renewed_until_the_pod_is_terminating(self, scenario: DrainScenario) -> None:
        scenario.drain("a")
        scenario.plan_after_costs(2)
        scenario.begin_scale_in()
        scenario.change_deployment(replicas=2, generation=2, observed_generation=2)
        scenario.wait(20)
        scenario.report("a", State.DRAINED, drain=Drain("default", EPOCH, 1))
        assert scenario.plan(2).drains == "a"

    def test_the_lease_of_a_worker_drained_by_a_former_leader_is_renewed_at_once(self, scenario: DrainScenario) -> None:
        scenario.report("a", State.DRAINING, drain=Drain("default", EPOCH - 1, 1), in_flight=1)
        assert scenario.plan(2).drains == "a"

    def test_without_a_leader_of_the_queue_a_lease_is_renewed_only_if_the_worker_has_stopped_consuming(
        self, scenario: DrainScenario
    ) -> None:
        scenario.drain("a", **BUSY)
        scenario.send("b")
        scenario.wait(20)
        assert scenario.plan(1, running=False).drains == "a"


class TestBlockedBy:
    def test_running_tasks_block_scale_in(self, scenario: DrainScenario) -> None:
        scenario.drain("a", **BUSY)
        assert scenario.plan(2).blocked_by is Blocker.TASKS

    def test_missing_workers_that_can_be_drained_block_scale_in(self, scenario: DrainScenario) -> None:
        scenario.wait(50)
        assert scenario.plan(2).blocked_by is Blocker.WORKERS

    def test_without_surplus_workers_nothing_blocks(self, scenario: DrainScenario) -> None:
        assert scenario.plan(3).blocked_by is Blocker.NOTHING
