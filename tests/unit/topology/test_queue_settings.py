"""With `settingsBy: Policy`, a policy keeps rejected messages, and no message is led to the queue before it does."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue_operator.resource.faults import Fault, Reason, TopologyFault
from taskqueue_operator.topology.deletion import fence_steps, retaining_steps
from taskqueue_operator.topology.diff import Declare, Remove, Step, diff
from taskqueue_operator.topology.objects import Policy, Queue, Topology
from taskqueue_operator.topology.opening import until_kept
from taskqueue_operator.topology.queue_limits import limits_requirement
from taskqueue_operator.topology.queue_policies import main_policy
from taskqueue_operator.topology.queue_settings import keeps_rejected, settings_requirement
from tests.approved import assert_approved
from tests.unit.topology.builders import OWNER, desired_topology, taskqueue, with_owner
from tests.unit.topology.in_memory_vhost import Object, apply_steps, routed, vhost_with

BY_POLICY: dict[str, object] = {"settingsBy": "Policy"}
DESIRED = desired_topology(queue=BY_POLICY)
PLAIN = Queue("jobs", arguments={"x-queue-type": "quorum"})
ROUNDS = 5
CLASSIC_SETTINGS = {"dead-letter-exchange": "", "dead-letter-routing-key": "jobs.dlq"}
SETTINGS = {
    **CLASSIC_SETTINGS,
    "dead-letter-strategy": "at-least-once",
    "overflow": "reject-publish",
    "delivery-limit": 100,
}


def policy(actual: Topology, **queue: object) -> Policy | None:
    """Return the policy of queue `jobs` for a spec."""
    limits = limits_requirement(taskqueue(queue=queue), actual.queues.get("jobs"))
    others = [limits] if limits is not None else []
    settings = settings_requirement("jobs", "jobs", others, actual)
    return main_policy("jobs", [settings, *others] if settings is not None else others, actual)


def steps(actual: Topology) -> tuple[Step, ...]:
    """Return the next steps of a TaskQueue with `settingsBy: Policy`."""
    ours = policy(actual)
    desired = replace(DESIRED, policies={ours.name: ours} if ours is not None else {})
    return until_kept(diff(desired, actual, owner=OWNER), desired.queues["jobs"], actual)


@pytest.mark.parametrize(
    ("queue", "arguments"),
    [
        ({}, {"x-queue-type": "quorum"}),
        ({"type": "Classic"}, {"x-queue-type": "classic"}),
        ({"type": "Classic", "maxPriority": 5}, {"x-queue-type": "classic", "x-max-priority": 5}),
    ],
)
def test_the_queue_has_only_the_arguments_that_no_policy_can_replace(
    queue: dict[str, object], arguments: dict[str, object]
) -> None:
    declared = with_owner(desired_topology(queue=queue | BY_POLICY).queues["jobs"], None)
    assert declared.arguments == arguments


@pytest.mark.parametrize(
    ("type_", "queue", "definition"),
    [
        ("quorum", {}, SETTINGS),
        ("classic", {"type": "Classic"}, CLASSIC_SETTINGS),
        ("quorum", {"deliveryLimit": 3}, SETTINGS | {"delivery-limit": 3}),
        (
            "classic",
            {"type": "Classic", "maxLength": 5, "overflow": "DropHead"},
            CLASSIC_SETTINGS | {"max-length": 5, "overflow": "drop-head"},
        ),
    ],
)
def test_the_one_policy_of_the_queue_holds_what_its_arguments_do_not(
    type_: str, queue: dict[str, object], definition: dict[str, object]
) -> None:
    ours = policy(vhost_with(Queue("jobs", arguments={"x-queue-type": type_})), **queue)
    assert ours is not None
    assert (ours.name, ours.pattern, ours.definition) == ("jobs.settings", "^jobs$", definition)


def test_a_queue_whose_arguments_keep_rejected_messages_needs_no_policy() -> None:
    assert policy(desired_topology()) is None


def test_a_policy_of_the_user_that_keeps_them_is_sufficient_and_any_other_is_repeated() -> None:
    sufficient = Policy("user", "^jobs", "queues", {**SETTINGS, "queue-leader-locator": "balanced"}, 1)
    assert policy(vhost_with(PLAIN, sufficient)) is None

    other = replace(sufficient, definition={"dead-letter-exchange": "dlx", "queue-leader-locator": "balanced"})
    ours = policy(vhost_with(PLAIN, other))
    assert ours is not None
    assert ours.name == "jobs.settings over user"
    assert ours.definition == SETTINGS | {"queue-leader-locator": "balanced"}


def test_a_policy_that_displaces_the_operators_is_named_with_what_it_lacks() -> None:
    with pytest.raises(TopologyFault) as raised:
        policy(vhost_with(PLAIN, Policy("company", ".*", "all", {"max-length": 5}, 999)))
    assert raised.value.reason is Reason.POLICY_CONFLICT
    assert_approved("topology.settings_displaced", raised.value.message)


FOUND: list[Object] = [
    *DESIRED.exchanges.values(),
    *DESIRED.queues.values(),
    with_owner(DESIRED.queues["jobs"], None),
    Policy("user", "^j", "queues", {"dead-letter-exchange": "dlx"}, 1),
    Policy("jobs.settings", "^jobs$", "queues", SETTINGS),
    Policy("jobs.settings", "^jobs$", "queues", CLASSIC_SETTINGS),
    Policy("jobs.limits over user", "^jobs$", "queues", {"max-length": 1}),
]
VHOSTS = st.lists(st.sampled_from(FOUND), unique_by=repr).map(lambda found: vhost_with(*found))


@given(VHOSTS)
def test_from_any_vhost_no_message_is_led_to_the_queue_before_rejected_ones_are_kept(actual: Topology) -> None:
    """Invariant: also when the operator ends after any single write."""
    for _ in range(ROUNDS):
        following = steps(actual)
        for step in following:
            actual = apply_steps([step], actual)
            reached = "jobs" in actual.exchanges and "jobs" in routed("jobs", "jobs", actual)
            assert not reached or keeps_rejected(actual.queues["jobs"], "jobs", actual)
        if not following:
            break
    assert steps(actual) == ()
    assert routed("jobs", "jobs", actual) == {"jobs"}
    assert keeps_rejected(actual.queues["jobs"], "jobs", actual)


def test_an_open_queue_is_repaired_like_any_other() -> None:
    """Publishers go on while its policy is missing: to close the queue would lose what they publish."""
    actual = declared()
    without = replace(actual, policies={}, queues=without_policy(actual))
    (step,) = steps(without)
    assert step == Declare(actual.policies["jobs.settings"])


def test_the_fence_refuses_publishers_until_the_queue_is_open_again() -> None:
    """Without it, RabbitMQ would confirm what they publish, and drop it."""
    actual = declared()
    while following := fence_steps(DESIRED, actual, owner=OWNER):
        actual = apply_steps(following, actual)
    actual = apply_steps([Remove(actual.policies["jobs.settings"])], actual)
    assert routed("jobs", "jobs", actual) == {"jobs.fence"}
    while following := steps(actual):
        for step in following:
            actual = apply_steps([step], actual)
            assert routed("jobs", "jobs", actual), step
    assert routed("jobs", "jobs", actual) == {"jobs"}


def test_a_policy_that_is_written_and_not_applied_keeps_the_queue_closed() -> None:
    queue = apply_steps(steps(Topology()), Topology())
    written = apply_steps(steps(queue), queue)
    unapplied = replace(written, queues=without_policy(written))
    with pytest.raises(Fault) as raised:
        steps(unapplied)
    assert not raised.value.terminal
    assert_approved("topology.settings_not_applied", raised.value.message)


def test_what_keeps_rejected_messages_stays_with_a_queue_that_is_retained() -> None:
    settings = Policy("jobs.settings", "^jobs$", "queues", SETTINGS)
    actual = apply_steps([Declare(settings)], declared())
    assert retaining_steps("jobs", actual) == ()

    limited = replace(settings, definition=SETTINGS | {"max-length": 5, "delivery-limit": 3})
    actual = apply_steps([Declare(limited)], actual)
    assert retaining_steps("jobs", actual) == (Declare(settings),)


def without_policy(actual: Topology) -> dict[str, Queue]:
    """Return the queues of a vhost as RabbitMQ lists them while it applies no policy to `jobs`."""
    return {**actual.queues, "jobs": replace(actual.queues["jobs"], policy=None)}


def declared() -> Topology:
    actual = Topology()
    while following := steps(actual):
        actual = apply_steps(following, actual)
    return actual
