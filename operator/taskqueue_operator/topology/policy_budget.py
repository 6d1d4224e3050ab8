"""How many policies the operator writes into one vhost.

RabbitMQ compares all policies with all queues of a vhost whenever a policy is written. So their product is bounded.
"""

from collections.abc import Sequence

from taskqueue_operator.resource.bounds import POLICY_PAIRS
from taskqueue_operator.resource.faults import Reason, TopologyFault

from .diff import Declare, Remove, Step
from .objects import Policy, Topology


def check_budget(steps: Sequence[Step], actual: Topology) -> None:
    """Check that the vhost has room for the policies of these steps. What it has already stays.

    Raises:
        TopologyFault: It has not.
    """
    policies = [step.item for step in steps if isinstance(step, Declare) and isinstance(step.item, Policy)]
    new = [policy for policy in policies if policy.name not in actual.policies]
    removed = sum(isinstance(step, Remove) and isinstance(step.item, Policy) for step in steps)
    count = len(actual.policies) + len(new) - removed
    if len(new) > removed and count * len(actual.queues) > POLICY_PAIRS:
        settings = ", ".join(f"{key}: {value}" for key, value in new[0].definition.items())
        raise TopologyFault(
            Reason.POLICY_BUDGET,
            f'Policy "{new[0].name}" is needed, and the vhost has {len(actual.policies)} policies and '
            f"{len(actual.queues)} queues: RabbitMQ compares all of them whenever a policy is written. Set {settings} "
            "in a policy of your own that matches several queues, use another spec.broker.vhost, or remove what needs "
            "the policy from spec.",
        )
