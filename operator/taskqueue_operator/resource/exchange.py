"""The part of the spec that describes the publishers' exchange and the bindings."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import ConfigDict, Field, StrictInt, StrictStr

from .bounds import BINDING_HEADERS, HEADER_CHARACTERS
from .fields import BrokerName, Model, rule, rules


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


DEFAULT_ROUTING_KEYS: Final = {ExchangeType.TOPIC: "#", ExchangeType.FANOUT: "", ExchangeType.CONSISTENT_HASH: "1"}
"""Routing keys of default bindings that are not the name of the TaskQueue; for ConsistentHash, the queue's share."""
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


TOPIC_PATTERN: Final = "(^|[.])[*#]([.]|$)"
"""A word of a routing key that only a Topic exchange reads as a pattern."""
BINDING_RULES: Final = (
    rule(
        "!has(self.bindings) || !has(self.exchange) || !(self.exchange.type in ['Fanout', 'ConsistentHash']) "
        "|| self.bindings.all(binding, has(binding.exchange))",
        "A Fanout exchange ignores routing keys, and a ConsistentHash exchange divides all messages equally. "
        "Remove the bindings from it, or set exchange.type: Topic.",
        path=".bindings",
    ),
    rule(
        "!has(self.exchange) || self.exchange.type != 'Headers' || (has(self.bindings) && "
        "self.bindings.exists(binding, !has(binding.exchange)) && "
        "self.bindings.all(binding, has(binding.exchange) || has(binding.arguments)))",
        "A Headers exchange compares headers, and a binding without arguments has none to compare. Add "
        "bindings with arguments, such as {format: pdf}; for every message, set exchange.type: Fanout.",
        path=".bindings",
    ),
    rule(
        "!has(self.bindings) || (has(self.exchange) && self.exchange.type == 'Headers') || "
        "self.bindings.all(binding, has(binding.exchange) || !has(binding.arguments))",
        "Only a Headers exchange compares arguments. Write routingKey instead, or set exchange.type: Headers.",
        path=".bindings",
    ),
    rule(
        "!has(self.bindings) || self.bindings.all(binding, has(binding.exchange) || has(binding.routingKey) "
        "|| has(binding.arguments))",
        "A binding has neither routingKey nor exchange. Set routingKey; or exchange, for a binding from an "
        "exchange that ignores routing keys.",
        path=".bindings",
    ),
    rule(
        "!has(self.bindings) || self.bindings.all(binding, self.bindings.exists_one(other, other == binding))",
        "Two bindings are equal. Remove one of them.",
        path=".bindings",
    ),
    rule(
        "!has(self.bindings) || (has(self.exchange) && self.exchange.type != 'Direct') || "
        "self.bindings.all(binding, has(binding.exchange) || !has(binding.routingKey) || "
        f"!binding.routingKey.matches('{TOPIC_PATTERN}'))",
        "A Direct exchange compares routing keys literally, so a pattern with * or # matches no message. Set "
        "exchange.type: Topic, or write the routing keys.",
        path=".bindings",
    ),
)
"""Rules of a spec about its exchange and its bindings together."""
