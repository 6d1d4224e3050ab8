"""One TaskQueue, parsed: spec, identity and the names that follow from both."""

from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, ValidationError

from .broker import Binding, Broker, DeletionPolicy, Exchange, ExchangeType, Queue
from .faults import Fault, Reason
from .fields import Model, rule, rules
from .names import Key
from .scaling import Scaling
from .worker import Worker

BINDING_MAP: dict[str, Any] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["routingKey"]}


class Spec(Model):
    """What an application team asks for."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.queue) || !self.queue.external || has(self.queue.name)",
                "An external queue needs queue.name: the name of the queue that exists.",
                path=".queue",
            ),
            rule(
                "!has(self.queue) || !self.queue.external || (!has(self.exchange) && !has(self.bindings))",
                "An external queue is never bound. Remove exchange and bindings, or external: true.",
                path=".queue",
            ),
            rule(
                "!has(self.queue) || !self.queue.external || self.deletionPolicy == 'Retain'",
                "An external queue is never deleted. Set deletionPolicy: Retain, or remove external: true.",
                path=".deletionPolicy",
            ),
            rule(
                "!has(self.bindings) || !has(self.exchange) || self.exchange.type != 'Fanout'",
                "A Fanout exchange ignores routing keys. Remove bindings, or set exchange.type: Topic.",
                path=".bindings",
            ),
        )
    )

    broker: Broker = Field(description="The RabbitMQ to use.")
    exchange: Exchange | None = Field(
        None, description="Where publishers send. Default: a Direct exchange named like the TaskQueue."
    )
    queue: Queue | None = Field(
        None, description="What the workers consume. Default: a Quorum queue named like the TaskQueue."
    )
    bindings: Annotated[list[Binding], Field(min_length=1, max_length=64)] | None = Field(
        None,
        description="Routing keys that lead to the queue. Default: the name of the TaskQueue; # for Topic.",
        json_schema_extra=BINDING_MAP,
    )
    deletion_policy: DeletionPolicy = Field(
        DeletionPolicy.RETAIN,
        description="What becomes of exchange and queues when the TaskQueue is deleted. Retain: they stay. "
        "DeleteIfEmpty: publishers are refused, and they go once empty. Delete: they go with their messages.",
    )
    worker: Worker = Field(description="What runs the tasks.")
    scaling: Scaling = Field(description="How many workers.")


@dataclass(frozen=True, slots=True)
class TaskQueue:
    """A TaskQueue as the API server holds it, with every default applied."""

    key: Key
    uid: str
    generation: int
    resource_version: str
    deleting: bool
    finalizers: tuple[str, ...]
    spec: Spec

    @classmethod
    def parse(cls, body: dict[str, Any]) -> Self:
        """Read an object of the API.

        Raises:
            Fault: The spec does not fit the models: the installed CRD is of another version.
        """
        metadata = body["metadata"]
        try:
            spec = Spec.model_validate(body.get("spec") or {})
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            path = ".".join(str(part) for part in ("spec", *first["loc"]))
            raise Fault(
                Reason.INVALID_SPEC,
                f"{path}: {first['msg']}. Correct the field, or install the CRD of this operator's version.",
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
        """The queue, with its defaults."""
        return self.spec.queue or Queue()

    @property
    def exchange(self) -> Exchange:
        """The exchange, with its defaults."""
        return self.spec.exchange or Exchange()

    @property
    def queue_name(self) -> str:
        """Name of the physical queue on the broker."""
        return self.queue.name or self.key.name

    @property
    def exchange_name(self) -> str:
        """Name of the exchange that publishers use."""
        return self.exchange.name or self.key.name

    @property
    def routing_keys(self) -> tuple[str, ...]:
        """Routing keys that lead from the exchange to the queue."""
        if self.spec.bindings is not None:
            return tuple(binding.routing_key for binding in self.spec.bindings)
        defaults = {ExchangeType.DIRECT: self.key.name, ExchangeType.TOPIC: "#", ExchangeType.FANOUT: ""}
        return (defaults[self.exchange.type],)
