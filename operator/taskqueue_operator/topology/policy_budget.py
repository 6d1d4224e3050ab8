"""How many policies the operator writes into one vhost.

RabbitMQ compares all policies with all queues of a vhost whenever a policy is written. So their product is bounded.
"""

from collections.abc import Sequence

from taskqueue_operator.resource.bounds import POLICY_PAIRS
from taskqueue_operator.resource.faults import Reason, TopologyFault

from .diff import Declare, Remove, Step
from .objects import Policy, Topology
from .queue_policy import shown


def within_budget(steps: Sequence[Step], actual: Topology) -> tuple[Step, ...]:
    """Return the steps without new policies that a vhost has no room for. Policies that it has may change.

    Raises:
        TopologyFault: No other step is left.
    """
    new = [item for item in _declared_policies(steps) if item.name not in actual.policies]
    removed = sum(isinstance(step, Remove) and isinstance(step.item, Policy) for step in steps)
    count = len(actual.policies) + len(new) - removed
    if len(new) <= removed or count * len(actual.queues) <= POLICY_PAIRS:
        return tuple(steps)
    others = tuple(step for step in steps if step.item not in new)
    if not others:
        raise _beyond(new[0], actual)
    return others


def _declared_policies(steps: Sequence[Step]) -> Sequence[Policy]:
    return [step.item for step in steps if isinstance(step, Declare) and isinstance(step.item, Policy)]


def _beyond(policy: Policy, actual: Topology) -> TopologyFault:
    return TopologyFault(
        Reason.POLICY_BUDGET,
        f'Policy "{policy.name}" is needed, and the vhost has {len(actual.policies)} policies and '
        f"{len(actual.queues)} queues: RabbitMQ compares all of them whenever a policy is written. Set "
        f"{shown(policy.definition)} in a policy of your own that matches several queues, use another "
        "spec.broker.vhost, or remove what needs the policy from spec.",
    )
