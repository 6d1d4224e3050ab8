"""The part of the spec that describes the broker, the exchange, the queue and the bindings."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import ConfigDict, Field, StrictInt, StrictStr

from .bounds import BINDING_HEADERS, HEADER_CHARACTERS, VHOST_BYTES
from .fields import BrokerName, Model, SecretRef, rule, rules


class ExchangeType(StrEnum):
    """Exchange types of AMQP 0-9-1, and that of the plugin `rabbitmq_consistent_hash_exchange`."""

    DIRECT = "Direct"
    FANOUT = "Fanout"
    TOPIC = "Topic"
    HEADERS = "Headers"
    CONSISTENT_HASH = "ConsistentHash"

    @property
    def on_broker(self) -> str:
        """The type as RabbitMQ spells it."""
        return "x-consistent-hash" if self is ExchangeType.CONSISTENT_HASH else self.lower()

    @classmethod
    def of(cls, on_broker: str) -> "ExchangeType | None":
        """Return the type that RabbitMQ spells so; None if a TaskQueue cannot have it."""
        return next((type_ for type_ in cls if type_.on_broker == on_broker), None)


class QueueType(StrEnum):
    """Queue types of RabbitMQ; the type of an existing queue cannot change."""

    QUORUM = "Quorum"
    CLASSIC = "Classic"


class AdoptionPolicy(StrEnum):
    """Whether objects that exist already, without the mark of an owner, count as those of the operator."""

    NEVER = "Never"
    IF_MATCHING = "IfMatching"


class DeletionPolicy(StrEnum):
    """What happens to the exchange and the queues when the TaskQueue is deleted."""

    RETAIN = "Retain"
    DELETE_IF_EMPTY = "DeleteIfEmpty"
    DRAIN = "Drain"
    DELETE = "Delete"

    @property
    def keeps_workers(self) -> bool:
        """Whether workers continue during the deletion, until the queue is empty."""
        return self in {DeletionPolicy.DELETE_IF_EMPTY, DeletionPolicy.DRAIN}


class Broker(Model):
    """RabbitMQ broker that holds the queue."""

    secret_ref: SecretRef = Field(
        description="Secret with the key uri (amqp://USER:PASS@HOST:PORT/VHOST), or the keys host (HOST or HOST:PORT), "
        "username and password, and optionally port and vhost. The keys username, password and vhost complete"
        " a uri that lacks them. Other optional keys: management-uri (defaults to http://HOST:15672; with "
        "TLS, https://HOST:15671; a management-uri without port means 80 or 443), ca.crt, tls.crt, tls.key. "
        "The default-user Secret of the RabbitMQ cluster operator works without changes."
    )
    vhost: Annotated[str, Field(min_length=1, max_length=VHOST_BYTES, pattern=r"^[ -~]+$")] | None = Field(
        None,
        description="Virtual host. Defaults to the path of the Secret's `uri`, or to the Secret's key `vhost`; "
        "otherwise to `/`.",
    )


QUEUE_NAME: Final = "^[A-Za-z0-9_.:@/ -]*$"
"""Characters of AMQP 0-9-1 and those that its clients accept besides; none that only a pattern would contain."""
RESERVED: Final = r"^(amq|taskqueue)[.]"

_RESERVED_EXCHANGE: Final = (
    "begins with taskqueue., which the operator reserves for its own exchanges. Choose another name."
)


class Exchange(Model):
    """Exchange that publishers send messages to."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.name) || !self.name.startsWith('taskqueue.')",
                _RESERVED_EXCHANGE,
                path=".name",
                value="self.name",
            ),
            rule(
                "!has(self.alternateExchange) || !self.alternateExchange.startsWith('taskqueue.')",
                _RESERVED_EXCHANGE,
                path=".alternateExchange",
                value="self.alternateExchange",
            ),
        )
    )

    name: BrokerName | None = Field(None, description="Name of the exchange. Defaults to the name of the TaskQueue.")
    type: ExchangeType = Field(
        ExchangeType.DIRECT,
        description="Type of the exchange: Direct, Fanout, Topic, Headers or ConsistentHash. ConsistentHash divides "
        "the messages among the TaskQueues that share the exchange, by their routing keys; it needs the plugin "
        "rabbitmq_consistent_hash_exchange.",
    )
    alternate_exchange: BrokerName | None = Field(
        None,
        description="Name of an existing exchange that gets the messages that no binding of this exchange matches, for "
        "example that of another TaskQueue. Without it, RabbitMQ drops them, or returns them to their publisher. "
        "Cannot change once the queue exists.",
    )


class Queue(Model):
    """Queue that the workers consume."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.maxPriority) || self.type == 'Classic'",
                "maxPriority requires type: Classic. Quorum queues support priorities without it. Remove maxPriority, "
                "or set type: Classic.",
                path=".maxPriority",
            ),
            rule(
                f"!has(self.name) || self.external || self.name.matches('{QUEUE_NAME}')",
                "contains a character that AMQP clients refuse in the name of a queue. Use letters, digits, blanks "
                "and - _ . : @ /. The name is no pattern: a TaskQueue has one queue. For an existing queue, set "
                "external: true.",
                path=".name",
                value="self.name",
            ),
            rule(
                f"!has(self.name) || self.external || !self.name.matches('{RESERVED}')",
                "begins with amq., which RabbitMQ reserves, or with taskqueue., which the operator reserves. Choose "
                "another name.",
                path=".name",
                value="self.name",
            ),
        )
    )

    name: BrokerName | None = Field(None, description="Name of the queue. Defaults to the name of the TaskQueue.")
    type: QueueType = Field(
        QueueType.QUORUM, description="Quorum (replicated) or Classic. Cannot change once the queue exists."
    )
    max_priority: Annotated[int, Field(ge=1, le=255)] | None = Field(
        None, description="Highest message priority of a Classic queue. Cannot change once the queue exists."
    )
    external: bool = Field(
        default=False,
        description="The queue is managed elsewhere. The operator scales on its backlog, but never declares, binds or "
        "deletes it.",
    )


MATCH: Final = "x-match"
"""Argument of a binding: whether all its headers must match, or any of them."""
THREE_HASHES: Final = "(^|[.])#[.](.*[.])?#[.](.*[.])?#([.]|$)"
"""A routing key with more than two words `#`."""
HEADER_NAME: Final = "^[ -~]{1,127}$"
"""Names that AMQP holds, which are up to 255 bytes long, and that a message can quote."""
HeaderValue = Annotated[
    StrictInt | StrictStr, Field(json_schema_extra={"x-kubernetes-int-or-string": True, "maxLength": HEADER_CHARACTERS})
]


class Binding(Model):
    """Binding from an exchange to the queue."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.exchange) || !self.exchange.startsWith('taskqueue.')",
                _RESERVED_EXCHANGE,
                path=".exchange",
                value="self.exchange",
            ),
            rule(
                f"!has(self.routingKey) || !self.routingKey.matches('{THREE_HASHES}')",
                "has more than two words #, which RabbitMQ refuses. Use at most two: each stands for any number of "
                "words.",
                path=".routingKey",
                value="self.routingKey",
            ),
            rule(
                "!has(self.arguments) || !has(self.routingKey)",
                "A binding has either a routing key or headers to compare. Remove routingKey or arguments.",
                path=".routingKey",
            ),
            rule(
                f"!has(self.arguments) || self.arguments.exists(name, name != '{MATCH}')",
                "arguments have no header to compare, so that the binding matches every message, or none. Add a "
                "header, such as format: pdf.",
                path=".arguments",
            ),
            rule(
                "!has(self.arguments) || self.arguments.all(name, !name.startsWith('x-') || "
                f"(name == '{MATCH}' && self.arguments[name] in ['all', 'any']))",
                "RabbitMQ does not compare headers whose names begin with x-, and x-match is all or any. Remove or "
                "correct this argument.",
                path=".arguments",
            ),
            rule(
                f"!has(self.arguments) || self.arguments.all(name, name.matches('{HEADER_NAME}'))",
                "The name of a header is empty, longer than 127 characters, or not ASCII. Choose another header.",
                path=".arguments",
            ),
        )
    )

    exchange: BrokerName | None = Field(
        None,
        description="Name of an existing exchange that the queue gets messages from besides spec.exchange, for example "
        "that of another TaskQueue. Defaults to spec.exchange.",
    )
    routing_key: Annotated[str, Field(max_length=255, pattern=r"^[ -~]*$")] | None = Field(
        None,  # the pattern: one byte for each character, because AMQP counts bytes
        description="Routing key. For a Topic exchange, a pattern such as image.* or #.",
    )
    arguments: Annotated[dict[str, HeaderValue], Field(min_length=1, max_length=BINDING_HEADERS)] | None = Field(
        None,
        description="For a Headers exchange: the headers that a message must have, with their values, texts or whole "
        "numbers. With x-match: any, one of them is sufficient; the default is all.",
    )
