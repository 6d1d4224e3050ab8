"""Where the queue lives: broker, exchange, queue and bindings as users write them."""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from .fields import BrokerName, Model, SecretRef, rule, rules


class ExchangeType(StrEnum):
    """How the exchange routes."""

    DIRECT = "Direct"
    FANOUT = "Fanout"
    TOPIC = "Topic"


class QueueType(StrEnum):
    """How the broker keeps the queue; may never change for a queue that exists."""

    QUORUM = "Quorum"
    CLASSIC = "Classic"


class DeletionPolicy(StrEnum):
    """What becomes of exchange and queues when the TaskQueue is deleted."""

    RETAIN = "Retain"
    DELETE_IF_EMPTY = "DeleteIfEmpty"
    DELETE = "Delete"


class Broker(Model):
    """The RabbitMQ to use."""

    secret_ref: SecretRef = Field(
        description="Secret with the key uri (amqp://USER:PASS@HOST:PORT/VHOST), or host, port, username and password. "
        "Optional keys: management-uri (default: http://HOST:15672, or https and 15671 for amqps), ca.crt, tls.crt, "
        "tls.key. The default-user Secret of the RabbitMQ cluster operator works unchanged."
    )
    vhost: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[ -~]+$")] | None = Field(
        None, description="Virtual host. Beats the path of the Secret's uri; without either it is /."
    )


class Exchange(Model):
    """Where publishers send their messages."""

    name: BrokerName | None = Field(None, description="Name of the exchange. Default: the name of the TaskQueue.")
    type: ExchangeType = Field(ExchangeType.DIRECT, description="How it routes.")


class Queue(Model):
    """The queue that the workers consume."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.maxPriority) || self.type == 'Classic'",
                "maxPriority is for Classic queues. Quorum queues know priorities without it: remove maxPriority, "
                "or set type: Classic.",
                path=".maxPriority",
            )
        )
    )

    name: BrokerName | None = Field(None, description="Name of the queue. Default: the name of the TaskQueue.")
    type: QueueType = Field(
        QueueType.QUORUM, description="Quorum (replicated, the default) or Classic. A queue cannot change its type."
    )
    max_priority: Annotated[int, Field(ge=1, le=255)] | None = Field(
        None, description="Highest message priority of a Classic queue. A queue cannot change it."
    )
    external: bool = Field(
        default=False,
        description="The queue belongs to somebody else: it is read and scaled on, never declared, bound or deleted.",
    )


class Binding(Model):
    """One way from the exchange to the queue."""

    routing_key: str = Field(
        max_length=255,
        pattern=r"^[ -~]*$",  # one byte each: AMQP counts bytes
        description="Routing key; with a Topic exchange a pattern such as image.* or #.",
    )
