"""Workers whose pods terminate and which may not have received SIGTERM."""

from taskqueue_operator.drain.protocol import State

from .scenario import DrainScenario


def test_a_worker_that_ignores_sigterm_is_drained_until_its_pod_has_ended() -> None:
    scenario = DrainScenario("abc", drain_token="", replicas=2, current_replicas=2)
    scenario.change_pod("a", deleting=True)
    assert scenario.plan(2).drains == "", "SIGTERM is on its way"
    scenario.wait(2)
    first = scenario.plan(2)
    assert (first.drains, len(first.actions)) == ("a", 1)
    scenario.send("a")
    scenario.answer("a", State.DRAINING, in_flight=1)
    assert scenario.plan(2).drains == ""
    scenario.wait(20)
    scenario.report("a", State.DRAINING, in_flight=1)
    assert scenario.plan(2).drains == "a", "its lease is renewed"
    del scenario.pods["a"]
    assert scenario.plan(2).drains == ""


def test_a_worker_that_reports_leaving_is_left_alone() -> None:
    scenario = DrainScenario("abc", drain_token="", replicas=2, current_replicas=2)
    scenario.change_pod("a", deleting=True)
    scenario.report("a", State.LEAVING, in_flight=1)
    scenario.wait(2)
    assert scenario.plan(2).drains == ""


def test_a_new_leader_learns_from_a_report_whether_a_worker_ignores_sigterm() -> None:
    scenario = DrainScenario("bc", drain_token="", replicas=2, current_replicas=2)
    scenario.change_pod("a", deleting=True)
    scenario.wait(2)
    assert scenario.plan(2).drains == ""
    scenario.report("a")
    assert scenario.plan(2).drains == "a"
    assert scenario.plan(2, running=False).drains == "", "a cancel without a leader would cut what runs"
