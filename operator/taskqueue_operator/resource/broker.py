"""The part of the spec that describes the broker, and what a deletion does with the objects on it."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from .bounds import VHOST_BYTES
from .fields import Model, SecretRef


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
