"""A parsed TaskQueue: identity, spec and derived names."""

import json
from dataclasses import dataclass
from typing import Any, Final, Self

from pydantic import ValidationError

from .bounds import BEYOND_BOUNDS, SPEC_CHARACTERS
from .broker import AdoptionPolicy, DeletionPolicy
from .exchange import DEFAULT_ROUTING_KEYS, Binding, Exchange
from .faults import Fault, Reason, excerpt
from .names import Key, dead_letter_queue, interim_queue, shard_queues
from .queue import ChangePolicy, Queue
from .retry import BackoffType, Retry
from .spec import Spec
from .worker import Protocol

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
    def deployment_key(self) -> Key:
        """The Deployment of its workers."""
        ref = self.spec.worker.deployment_ref
        return self.key if ref is None else Key(self.key.namespace, ref.name)

    @property
    def owns_deployment(self) -> bool:
        """Whether the operator creates the Deployment; it only scales and drains one that the spec references."""
        return self.spec.worker.deployment_ref is None

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
