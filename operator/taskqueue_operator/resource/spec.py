"""The part of a TaskQueue that its user writes, with the rules that concern several of its parts."""

from typing import Annotated, Final

from pydantic import ConfigDict, Field

from .bounds import BINDINGS, CONSUMED_QUEUES
from .broker import AdoptionPolicy, Broker, DeletionPolicy
from .exchange import BINDING_RULES, Binding, Exchange
from .fields import BrokerName, Model, rule, rules
from .queue import Queue
from .retry import MAX_ATTEMPTS, DeadLetter, Retry
from .scaling import Scaling
from .worker import Worker


def is_external(spec: str) -> str:
    """Return the CEL expression: the queues of this spec exist already, and are never changed."""
    return f"(has({spec}.externalQueues) || (has({spec}.queue) && {spec}.queue.external))"


EXTERNAL: Final = is_external("self")


class Spec(Model):
    """Desired state of the queue and its workers."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            *BINDING_RULES,
            rule(
                "!has(self.queue) || !self.queue.external || has(self.queue.name)",
                "An external queue requires queue.name. Set it to the name of the existing queue.",
                path=".queue",
            ),
            rule(
                "!has(self.externalQueues) || !has(self.queue)",
                "queue and externalQueues exclude each other. Remove externalQueues for a queue of the operator; name "
                "all existing queues in externalQueues, and remove queue, to consume several.",
                path=".externalQueues",
            ),
            rule(
                "!has(self.externalQueues) || "
                "self.externalQueues.all(name, self.externalQueues.exists_one(other, other == name))",
                "Two names of queues are equal. Remove one of them.",
                path=".externalQueues",
            ),
            rule(
                f"!{EXTERNAL} || (!has(self.exchange) && !has(self.bindings))",
                "The operator does not bind an external queue. Remove exchange and bindings, or external: true and "
                "externalQueues.",
            ),
            rule(
                f"!{EXTERNAL} || self.deletionPolicy == 'Retain'",
                "The operator does not delete an external queue. Set deletionPolicy: Retain, or remove external: true "
                "and externalQueues.",
                path=".deletionPolicy",
            ),
            rule(
                f"!{EXTERNAL} || self.adoptionPolicy == 'Never'",
                "An external queue belongs to its users. Set adoptionPolicy: Never, or remove external: true and "
                "externalQueues.",
                path=".adoptionPolicy",
            ),
            rule(
                "!has(self.queue) || self.queue.changePolicy != 'Migrate' || self.worker.protocol == 'TaskQueue'",
                "Workers consume two queues during a migration, which those of protocol Plain may not be able to. Set "
                "changePolicy: Never, or worker.protocol: TaskQueue.",
                path=".queue.changePolicy",
            ),
            rule(
                "!has(self.queue) || self.queue.changePolicy != 'Migrate' || !has(self.worker.deploymentRef)",
                "Workers consume two queues during a migration, for which the operator does not change a Deployment of "
                "others. Set changePolicy: Never, or set worker.image in place of worker.deploymentRef.",
                path=".queue.changePolicy",
            ),
            rule(
                "!has(self.retry) || self.worker.protocol == 'TaskQueue' || "
                "(has(self.retry.backoff) && self.retry.backoff.type == 'Linear')",
                "Only workers of protocol TaskQueue count attempts. Remove retry, set worker.protocol: TaskQueue, or "
                "have RabbitMQ count them with retry.backoff.type: Linear.",
                path=".retry",
            ),
            rule(
                "!has(self.retry) || !has(self.retry.backoff) || self.retry.backoff.type != 'Linear' || "
                "!has(self.queue) || self.queue.type != 'Classic'",
                "RabbitMQ delays retries of Quorum queues only. Set queue.type: Quorum, or retry.backoff.type: "
                "Exponential with worker.protocol: TaskQueue.",
                path=".retry.backoff",
            ),
            rule(
                f"!has(self.retry) || !has(self.retry.backoff) || !{EXTERNAL}",
                "The operator neither binds an external queue nor sets a policy for it, so no retry could be delayed. "
                "Remove retry.backoff, or external: true and externalQueues.",
                path=".retry.backoff",
            ),
            rule(
                "!has(self.queue) || !has(self.queue.deliveryLimit) || "
                "(self.worker.protocol == 'Plain' && !has(self.retry))",
                "retry.maxAttempts limits the attempts of workers of protocol TaskQueue and those with retries of type "
                "Linear. Remove queue.deliveryLimit, or set worker.protocol: Plain without retry.",
                path=".queue.deliveryLimit",
            ),
            rule(
                "!has(self.queue) || !self.queue.singleActiveConsumer || self.scaling.maxReplicas == 1",
                "With queue.singleActiveConsumer, only one worker at a time receives messages: others would be idle. "
                "Set scaling.maxReplicas: 1, or remove queue.singleActiveConsumer.",
                path=".scaling.maxReplicas",
            ),
            rule(
                "!has(self.queue) || !has(self.queue.shards) || self.queue.shards.hashOn != 'RoutingKey' || "
                "!has(self.exchange) || self.exchange.type != 'ConsistentHash'",
                "An exchange of type ConsistentHash divides by the routing key already, so one shard would get all "
                "messages. Set hashOn to the name of a header, or exchange.type: Direct or Topic.",
                path=".queue.shards",
            ),
            rule(
                "!has(self.deadLetter) || (!has(self.deadLetter.exchange) && !has(self.deadLetter.routingKey)) || "
                f"{EXTERNAL}",
                "The operator declares the dead-letter queue of each queue that is not external. Remove exchange and "
                "routingKey, or set queue.external: true or externalQueues.",
                path=".deadLetter",
            ),
            rule(
                "!has(self.deadLetter) || (!has(self.deadLetter.messageTtlSeconds) && !has(self.deadLetter.maxLength))"
                f" || !{EXTERNAL}",
                "The operator does not declare the dead-letter queue of an external queue. Remove messageTtlSeconds "
                "and maxLength, and set a policy for that queue.",
                path=".deadLetter",
            ),
        )
    )

    broker: Broker = Field(description="RabbitMQ broker that holds the queue.")
    exchange: Exchange | None = Field(
        None,
        description="Exchange that publishers send messages to. Defaults to a Direct exchange with the name of the "
        "TaskQueue.",
    )
    queue: Queue | None = Field(
        None, description="Queue that the workers consume. Defaults to a Quorum queue with the name of the TaskQueue."
    )
    external_queues: Annotated[list[BrokerName], Field(min_length=1, max_length=CONSUMED_QUEUES)] | None = Field(
        None,
        description="Existing queues, instead of queue: read and scaled on as one, and consumed by the same workers. "
        "The operator never declares, binds, changes or deletes them.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    bindings: Annotated[list[Binding], Field(min_length=1, max_length=BINDINGS)] | None = Field(
        None,
        description="Bindings to the queue. Without a binding from spec.exchange, it has one with the name of the "
        "TaskQueue as routing key; for a Topic exchange, #. A Headers exchange needs bindings.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    retry: Retry | None = Field(
        None, description=f"Attempts of a task. Defaults to {MAX_ATTEMPTS}, with an exponential backoff between them."
    )
    dead_letter: DeadLetter | None = Field(
        None,
        description="Limits of the dead-letter queue. For external queues: where workers of protocol TaskQueue "
        "publish the messages that they cannot process; defaults, for each external queue, to the queue with its name "
        "and .dlq. If no queue accepts such a message, it stays in the external queue, and the worker waits.",
    )
    adoption_policy: AdoptionPolicy = Field(
        AdoptionPolicy.NEVER,
        description="What the operator does with exchange and queues that exist already, that match the spec, and that "
        "it did not create. Never: the operator uses them, and leaves them when the TaskQueue is deleted. IfMatching: "
        "deletionPolicy applies to them as to its own. What does not match is refused in both cases.",
    )
    deletion_policy: DeletionPolicy = Field(
        DeletionPolicy.RETAIN,
        description="What happens to the exchange and the queues when the TaskQueue is deleted. Retain: the operator "
        "leaves exchange and queues. DeleteIfEmpty: the operator refuses new messages, and deletes exchange and queues "
        "once the queue and the dead-letter queue are empty. Drain: the operator refuses new messages, workers empty "
        "the queue, and the operator deletes exchange and queues, except a dead-letter queue that holds messages. "
        "Delete: the operator deletes exchange and queues with all messages.",
    )
    worker: Worker = Field(description="Container that runs the tasks.")
    scaling: Scaling = Field(description="Number of workers as a function of the ready messages and the running tasks.")
