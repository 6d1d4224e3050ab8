"""Workers whose pods are being deleted, and who may not have heard it."""

from taskqueue_operator.drain.protocol import State

from .stage import Stage, names


def test_who_does_not_hear_that_its_pod_goes_is_asked_to_take_nothing_more_until_it_has_gone() -> None:
    stage = Stage("abc", mark="", replicas=2, live=2)
    stage.show("a", deleting=True)
    assert stage.plan(2).part == (), "SIGTERM is on its way"
    stage.wait(2)
    first = stage.plan(2)
    assert (names(first.part), first.remark, first.drain) == ("a", None, ())
    stage.tell("a")
    stage.answer("a", State.DRAINING, in_flight=1)
    assert stage.plan(2).part == ()
    stage.wait(20)
    stage.say("a", State.DRAINING, in_flight=1)
    assert names(stage.plan(2).part) == "a", "its lease is renewed"
    del stage.pods["a"]
    assert stage.plan(2).part == ()


def test_who_says_that_it_leaves_is_left_alone() -> None:
    stage = Stage("abc", mark="", replicas=2, live=2)
    stage.show("a", deleting=True)
    stage.say("a", State.LEAVING, in_flight=1)
    stage.wait(2)
    assert stage.plan(2).part == ()


def test_a_leader_that_finds_a_pod_on_its_way_out_learns_from_a_report_whether_it_knows() -> None:
    stage = Stage("bc", mark="", replicas=2, live=2)
    stage.show("a", deleting=True)
    stage.wait(2)
    assert stage.plan(2).part == ()
    stage.say("a")
    assert names(stage.plan(2).part) == "a"
    assert stage.plan(2, running=False).part == (), "a cancel without a leader would cut what runs"
