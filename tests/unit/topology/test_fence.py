from taskqueue_operator.topology.fence import fence_topology
from taskqueue_operator.topology.objects import exact_pattern
from tests.unit.topology.builders import OWNER


def test_the_fence_rejects_every_message_and_is_the_alternate_exchange_of_the_private_exchange_only() -> None:
    fence = fence_topology("jobs", OWNER)
    policy = fence.policies["jobs.fence"]

    assert fence.queues["jobs.fence"].arguments == {
        "x-queue-type": "classic",
        "x-max-length": 0,
        "x-overflow": "reject-publish",
        "x-taskqueue-owner": OWNER,
    }
    assert (policy.pattern, policy.apply_to, policy.definition) == (
        r"^jobs\.in$",
        "exchanges",
        {"alternate-exchange": "jobs.fence"},
    )


def test_a_policy_pattern_escapes_every_special_character_of_a_name() -> None:
    assert exact_pattern("a.b*c (d)") == r"^a\.b\*c\ \(d\)$"
