"""Builds TaskQueues, their desired topologies, and objects that differ from them."""

from dataclasses import replace
from typing import TypeVar

from taskqueue_operator.resource.names import OWNER_ARGUMENT
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.topology.consumer_timeout import timeout_requirement
from taskqueue_operator.topology.desired import desired
from taskqueue_operator.topology.objects import Argument, Exchange, Policy, Queue, Topology
from taskqueue_operator.topology.queue_policies import main_policy

OWNER = "default/media/jobs"
OTHER_OWNER = "default/media/other"
Item = TypeVar("Item", bound=Exchange | Queue)


def taskqueue(name: str = "jobs", /, **spec: object) -> TaskQueue:
    """Return a TaskQueue with the minimal spec and these fields."""
    minimal = {
        "broker": {"secretRef": {"name": "rabbitmq"}},
        "worker": {"image": "example.org/jobs:1"},
        "scaling": {"maxReplicas": 3},
    }
    metadata = {"namespace": "media", "name": name, "uid": "1", "resourceVersion": "1"}
    return TaskQueue.parse({"metadata": metadata, "spec": minimal | spec})


def desired_topology(name: str = "jobs", /, **spec: object) -> Topology:
    return desired(taskqueue(name, **spec), "default")


def timeout_policy(queue: str, seconds: int, actual: Topology) -> Policy | None:
    """Return the policy for a queue of which nothing but a consumer timeout is required."""
    return main_policy(queue, [timeout_requirement(queue, seconds, actual.version)], actual)


def with_owner(item: Item, owner: str | None) -> Item:
    """Return the same object with another owner, or with none."""
    arguments = {key: value for key, value in item.arguments.items() if key != OWNER_ARGUMENT}
    return replace(item, arguments=arguments | ({OWNER_ARGUMENT: owner} if owner else {}))


def with_argument(queue: Queue, **arguments: Argument | None) -> Queue:
    """Return the same queue with `x_max_length=5` as x-max-length; None removes an argument."""
    merged = dict(queue.arguments) | {key.replace("_", "-"): value for key, value in arguments.items()}
    return replace(queue, arguments={key: value for key, value in merged.items() if value is not None})
