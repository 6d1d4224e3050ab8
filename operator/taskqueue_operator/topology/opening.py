"""Nothing leads messages to a queue that would drop a rejected one. Pure.

A queue whose arguments do not keep rejected messages needs a policy, which is written once the queue exists. So the
queue is declared first, then its policy, and only when RabbitMQ applies it what leads messages to the queue.
"""

from taskqueue_operator.resource.faults import Fault, Reason
from taskqueue_operator.resource.names import private_exchange

from .diff import Declare, Remove, Step
from .objects import POLICY_PRIORITY, Binding, Policy, Queue, Topology, exact_pattern
from .queue_settings import keeps_rejected


def until_kept(steps: tuple[Step, ...], desired: Queue, actual: Topology) -> tuple[Step, ...]:
    """Return the steps, without those that lead messages to a queue that does not keep rejected messages yet.

    Args:
        steps: The steps to the desired topology.
        desired: The queue that workers consume.
        actual: All objects of the vhost.

    Raises:
        Fault: The policy is written, and RabbitMQ does not apply it.
    """
    name = desired.name
    queue = actual.queues.get(name, desired)
    is_open = Binding(private_exchange(name), name, to_queue=True) in actual.bindings
    if is_open or keeps_rejected(queue, name, actual):
        return steps
    declared = tuple(step for step in steps if isinstance(step, Declare) and isinstance(step.item, Queue | Policy))
    if name not in actual.queues:  # its policy may be there already, and is right for a queue that is declared again
        return declared
    kept = (*declared, *(step for step in steps if _removes_policy(step, name)))
    if not kept:
        raise not_applied(queue)
    return kept


def _removes_policy(step: Step, queue: str) -> bool:
    """Whether a step removes a former policy of a queue. That of the fence stays: it refuses publishers meanwhile."""
    return isinstance(step, Remove) and isinstance(step.item, Policy) and step.item.pattern == exact_pattern(queue)


def not_applied(queue: Queue) -> Fault:
    """Return that RabbitMQ does not apply the policy of the operator to a queue."""
    applied = f'policy "{queue.policy}"' if queue.policy is not None else "no policy"
    return Fault(
        Reason.POLICY_CONFLICT,
        f'RabbitMQ applies {applied} to queue "{queue.name}", and not that of the operator, without which rejected '
        f"messages are dropped. Lower the priority of other policies below {POLICY_PRIORITY}, or set "
        "spec.queue.settingsBy: Arguments.",
    )
