"""The operator writes policies into a vhost up to a number of pairs of policies and queues."""

from dataclasses import replace

import pytest

from taskqueue_operator.resource.bounds import POLICY_PAIRS
from taskqueue_operator.resource.faults import Reason, TopologyFault
from taskqueue_operator.topology.diff import Declare, Remove, Step
from taskqueue_operator.topology.objects import Policy, Queue, Topology
from taskqueue_operator.topology.policy_budget import within_budget
from tests.approved import assert_approved

QUEUES = 2000
OURS = Policy("jobs.limits", "^jobs$", "queues", {"max-length": 5, "message-ttl": 60_000})
RENAMED = replace(OURS, name="jobs.limits over user")


def vhost(policies: int) -> Topology:
    """Return a vhost whose policies are ours and others."""
    names = [OURS.name, *(f"other-{number}" for number in range(policies - 1))]
    return Topology(
        queues={f"q{number}": Queue(f"q{number}") for number in range(QUEUES)},
        policies={name: replace(OURS, name=name) for name in names},
    )


FULL = vhost(POLICY_PAIRS // QUEUES)
NEW = Declare(replace(OURS, name="new.limits"))


def test_a_policy_beyond_the_budget_is_refused_with_the_way_out() -> None:
    with pytest.raises(TopologyFault) as raised:
        within_budget([NEW], FULL)
    assert (raised.value.reason, raised.value.terminal) == (Reason.POLICY_BUDGET, False), "others may remove theirs"
    assert_approved("topology.policy_budget", raised.value.message)


@pytest.mark.parametrize(
    "steps",
    [
        [],
        [Declare(Queue("new"))],
        [Declare(replace(OURS, definition={"max-length": 7}))],
        [Declare(RENAMED), Remove(OURS)],
        [Remove(OURS)],
    ],
    ids=["nothing", "no-policy", "changed", "renamed", "removed"],
)
def test_what_a_full_vhost_has_already_may_change(steps: list[Step]) -> None:
    assert within_budget(steps, FULL) == tuple(steps)
    assert within_budget(steps, vhost(2 * len(FULL.policies))) == tuple(steps)


def test_a_policy_within_the_budget_is_accepted() -> None:
    assert within_budget([NEW], vhost(len(FULL.policies) - 1)) == (NEW,)


def test_a_policy_beyond_the_budget_stops_no_other_step() -> None:
    assert within_budget([NEW, Declare(Queue("new"))], FULL) == (Declare(Queue("new")),)
