"""A parsed TaskQueue: identity, spec and derived names."""

import json
from dataclasses import dataclass
from typing import Annotated, Any, Final, Self

from pydantic import ConfigDict, Field, ValidationError

from .bounds import BEYOND_BOUNDS, BINDINGS, CONSUMED_QUEUES, SPEC_CHARACTERS
from .broker import AdoptionPolicy, Broker, ChangePolicy, DeletionPolicy, Queue
from .exchange import BINDING_RULES, DEFAULT_ROUTING_KEYS, Binding, Exchange
from .faults import Fault, Reason, excerpt
from .fields import BrokerName, Model, rule, rules
from .names import Key, dead_letter_queue, interim_queue, shard_queues
from .retry import MAX_ATTEMPTS, BackoffType, DeadLetter, Retry
from .scaling import Scaling
from .worker import Protocol, Worker


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


# Immutable, so that all share them: these properties are read often.
_QUEUE: Final = Queue()
_EXCHANGE: Final = Exchange()
_RETRY: Final = Retry()


@dataclass(frozen=True, slots=True)
class TaskQueue:
    """A TaskQueue of the API server, with all defaults applied.

    Attributes:
        is_migrating: Whether its workers consume the interim queue too, because their queue is being replaced. That
            follows from the broker, not from the API server.
    """

    key: Key
    uid: str
    generation: int
    resource_version: str
    deleting: bool
    finalizers: tuple[str, ...]
    spec: Spec
    is_migrating: bool = False

    @classmethod
    def parse(cls, body: dict[str, Any]) -> Self:
        """Parse an object of the API.

        Raises:
            Fault: The object is beyond a bound, or the spec does not match the models, for example because the
                installed CRD has another version.
        """
        metadata = body["metadata"]
        _check_bounds(body)
        try:
            spec = Spec.model_validate(body.get("spec") or {})
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            path = excerpt(".".join(str(part) for part in ("spec", *first["loc"])))
            raise Fault(
                Reason.INVALID_SPEC,
                f"{path}: {first['msg']}. Correct the field, or install the CRD of this version of the operator.",
                terminal=True,
            ) from None
        return cls(
            key=Key(metadata["namespace"], metadata["name"]),
            uid=metadata["uid"],
            generation=metadata.get("generation", 1),
            resource_version=metadata["resourceVersion"],
            deleting="deletionTimestamp" in metadata,
            finalizers=tuple(metadata.get("finalizers", ())),
            spec=spec,
        )

    @property
    def queue(self) -> Queue:
        """The queue, with defaults; of several, the first one."""
        if self.spec.external_queues is not None:
            return Queue(name=self.spec.external_queues[0], external=True)
        return self.spec.queue or _QUEUE

    @property
    def exchange(self) -> Exchange:
        """The exchange, with defaults."""
        return self.spec.exchange or _EXCHANGE

    @property
    def retry(self) -> Retry:
        """The attempts of a task, with defaults."""
        return self.spec.retry or _RETRY

    @property
    def delays_retries(self) -> bool:
        """Whether its workers delay the retry of a failed task, in the delay queues of the vhost."""
        managed = not self.queue.external and self.spec.worker.protocol is Protocol.TASK_QUEUE
        return managed and self.retry.max_attempts > 1 and not self.broker_delays_retries

    @property
    def broker_delays_retries(self) -> bool:
        """Whether the broker delays a message that is rejected with requeue."""
        backoff = self.retry.backoff
        return not self.queue.external and backoff is not None and backoff.type is BackoffType.LINEAR

    @property
    def adopts(self) -> bool:
        """Whether objects without an owner that match the spec count as its own."""
        return self.spec.adoption_policy is AdoptionPolicy.IF_MATCHING

    @property
    def is_being_emptied(self) -> bool:
        """Whether it is being deleted, once its workers have emptied the queue."""
        return self.deleting and self.spec.deletion_policy is DeletionPolicy.DRAIN

    @property
    def queue_name(self) -> str:
        """Name of the queue on the broker: the first of several external ones; what the names of shards begin with."""
        return self.queue.name or self.key.name

    @property
    def queue_names(self) -> tuple[str, ...]:
        """Names of all physical queues that the spec has the workers consume."""
        names = tuple(self.spec.external_queues or self.declared_queues or (self.queue_name,))
        return (*names, interim_queue(self.queue_name)) if self.is_migrating else names

    @property
    def hold_seconds(self) -> int:
        """Longest time for which its workers hold a message, in seconds."""
        return self.spec.worker.hold_seconds(len(self.queue_names))

    @property
    def replaces_queue(self) -> bool:
        """Whether a queue of the operator that differs in what cannot change is replaced."""
        return self.queue.change_policy is ChangePolicy.MIGRATE

    @property
    def declared_queues(self) -> tuple[str, ...]:
        """Names of the queues that the operator declares for the workers; none if the queue is external."""
        if self.queue.external:
            return ()
        shards = self.queue.shards
        return (self.queue_name,) if shards is None else shard_queues(self.queue_name, shards.count)

    @property
    def is_divided(self) -> bool:
        """Whether the operator declares several queues for the workers: shards, or two during a migration."""
        return bool(self.declared_queues) and len(self.queue_names) > 1

    @property
    def dead_letter_queues(self) -> tuple[str, ...]:
        """Names of the dead-letter queues by default: one for all shards, and one for each external queue."""
        names = (self.queue_name,) if self.declared_queues else self.queue_names
        return tuple(map(dead_letter_queue, names))

    @property
    def exchange_name(self) -> str:
        """Name of the exchange that publishers send messages to."""
        return self.exchange.name or self.key.name

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """The bindings to the queue, with that from the publishers' exchange if the spec has none."""
        bindings = tuple(self.spec.bindings or ())
        if any(binding.exchange is None for binding in bindings):
            return bindings
        key = DEFAULT_ROUTING_KEYS.get(self.exchange.type, self.key.name)
        return (Binding(routing_key=key), *bindings)


def _check_bounds(body: dict[str, Any]) -> None:
    problem = body.get(BEYOND_BOUNDS)
    if problem is None and _length(body.get("spec")) > SPEC_CHARACTERS:
        problem = f"{_largest_field(body['spec'])} makes spec longer than {SPEC_CHARACTERS} characters"
    if problem is not None:
        way_out = "Make it smaller: move data to a ConfigMap or to the image."
        raise Fault(Reason.INVALID_SPEC, f"{problem}. {way_out}", terminal=True)


def _length(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _largest_field(spec: object) -> str:
    path, value = ["spec"], spec
    while isinstance(value, dict) and value and len(path) < 3:  # noqa: PLR2004  spec.worker.podTemplate
        name, value = max(value.items(), key=lambda field: _length(field[1]))
        path.append(name)
    return excerpt(".".join(path))
