"""The part of the spec that describes the queue."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import ConfigDict, Field

from .bounds import DELAYED_NAME_CHARACTERS, DELIVERY_LIMIT, LONGEST_TTL_SECONDS, QUEUE_BYTES, QUEUE_MESSAGES
from .fields import BrokerName, Model, rule, rules
from .shards import Shards


class QueueType(StrEnum):
    """Queue types of RabbitMQ; the type of an existing queue cannot change."""

    QUORUM = "Quorum"
    CLASSIC = "Classic"


class Overflow(StrEnum):
    """What happens to the messages beyond the limit of a queue."""

    REJECT_PUBLISH = "RejectPublish"
    DROP_HEAD = "DropHead"


class ChangePolicy(StrEnum):
    """What happens to a queue of the operator that differs from the spec in what cannot change."""

    NEVER = "Never"
    MIGRATE = "Migrate"


class DelayedDelivery(StrEnum):
    """What publishes tasks that the broker delays, in exchanges and queues that it expects to exist."""

    CELERY = "Celery"


class SettingsBy(StrEnum):
    """What holds the settings of a queue that can be arguments and that a policy can hold as well."""

    ARGUMENTS = "Arguments"
    POLICY = "Policy"


QUEUE_NAME: Final = "^[A-Za-z0-9_.:@/ -]*$"
"""Characters of AMQP 0-9-1 and those that its clients accept besides; none that only a pattern would contain."""
RESERVED: Final = r"^(amq|taskqueue)[.]"
SETTINGS: Final = "maxLength", "maxLengthBytes", "overflow", "messageTtlSeconds", "deliveryLimit"
"""Fields of a queue that a policy sets."""
_HAS_SETTINGS: Final = " || ".join(f"has(self.{name})" for name in SETTINGS)


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
                "!has(self.overflow) || has(self.maxLength) || has(self.maxLengthBytes)",
                "overflow requires a limit. Set maxLength or maxLengthBytes, or remove overflow.",
                path=".overflow",
            ),
            rule(
                "!has(self.overflow) || self.overflow != 'DropHead' || self.type == 'Classic'",
                "A Quorum queue keeps rejected messages until the dead-letter queue has them, and RabbitMQ does so "
                "only with overflow: RejectPublish. Remove overflow, or set type: Classic.",
                path=".overflow",
            ),
            rule(
                "!has(self.deliveryLimit) || self.type == 'Quorum'",
                "deliveryLimit requires type: Quorum. RabbitMQ does not count the deliveries of Classic queues. Remove "
                "deliveryLimit, or set type: Quorum.",
                path=".deliveryLimit",
            ),
            rule(
                f"!self.external || !(self.singleActiveConsumer || {_HAS_SETTINGS})",
                f"The operator does not change an external queue. Remove {', '.join(SETTINGS)} and "
                "singleActiveConsumer, and set a policy for that queue.",
                path=".external",
            ),
            rule(
                "self.settingsBy != 'Policy' || !self.external",
                "The operator writes no policy for an external queue. Set settingsBy: Arguments, or remove external: "
                "true.",
                path=".settingsBy",
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
            rule(
                "self.changePolicy != 'Migrate' || !self.external",
                "The operator never replaces an external queue. Set changePolicy: Never, or remove external: true.",
                path=".changePolicy",
            ),
            rule(
                "!has(self.shards) || !self.external",
                "The operator does not divide an external queue. Remove shards, or external: true.",
                path=".shards",
            ),
            rule(
                "!has(self.shards) || self.settingsBy != 'Policy'",
                "The policies of shards do not keep rejected messages. Set settingsBy: Arguments, or remove shards.",
                path=".settingsBy",
            ),
            rule(
                "!has(self.shards) || self.changePolicy != 'Migrate'",
                "A migration replaces one queue, and not shards. Set changePolicy: Never, or remove shards.",
                path=".changePolicy",
            ),
            rule(
                "!has(self.shards) || !self.singleActiveConsumer",
                "Each shard would have an active consumer of its own, so that several workers receive messages. Remove "
                "shards or singleActiveConsumer.",
                path=".shards",
            ),
            rule(
                "self.changePolicy != 'Migrate' || !self.singleActiveConsumer",
                "A migration has two queues for a while, and each of them would have an active consumer. Set "
                "changePolicy: Never, or remove singleActiveConsumer.",
                path=".changePolicy",
            ),
            rule(
                "!has(self.delayedDelivery) || self.type == 'Quorum'",
                "Celery delays tasks on the broker for Quorum queues only; those of Classic queues wait in workers. "
                "Remove delayedDelivery, or set type: Quorum.",
                path=".delayedDelivery",
            ),
            rule(
                "!has(self.delayedDelivery) || !self.external",
                "The operator does not bind an external queue. Remove delayedDelivery or external: true.",
                path=".delayedDelivery",
            ),
            rule(
                "!has(self.delayedDelivery) || !has(self.shards)",
                "Delayed tasks return to one queue, and not to shards. Remove delayedDelivery or shards.",
                path=".delayedDelivery",
            ),
            rule(
                "!has(self.delayedDelivery) || self.changePolicy != 'Migrate'",
                "Delayed tasks return to the queue that a migration deletes. Remove delayedDelivery, or set "
                "changePolicy: Never.",
                path=".delayedDelivery",
            ),
            rule(
                f"!has(self.delayedDelivery) || !has(self.name) || size(self.name) <= {DELAYED_NAME_CHARACTERS}",
                "The routing key of a delayed task has 56 characters before the name of the queue, and 255 at most. "
                f"Choose a name of at most {DELAYED_NAME_CHARACTERS} characters, or remove delayedDelivery.",
                path=".name",
            ),
        )
    )

    name: BrokerName | None = Field(None, description="Name of the queue. Defaults to the name of the TaskQueue.")
    type: QueueType = Field(
        QueueType.QUORUM,
        description="Quorum (replicated) or Classic. Cannot change once the queue exists, except by changePolicy.",
    )
    shards: Shards | None = Field(
        None,
        description="Several queues instead of one, with the names NAME.0, NAME.1 and so on. A message goes to the one "
        "that its routing key or a header selects, and each worker serves all of them in turn. So a tenant that sends "
        "very many messages does not delay those of the other queues. Limits of the queue hold for each of them. Needs "
        "the plugin rabbitmq_consistent_hash_exchange.",
    )
    max_priority: Annotated[int, Field(ge=1, le=255)] | None = Field(
        None,
        description="Highest message priority of a Classic queue. Cannot change once the queue exists, except by "
        "changePolicy.",
    )
    max_length: Annotated[int, Field(ge=1, le=QUEUE_MESSAGES)] | None = Field(
        None, description="Number of ready messages from which the queue is full. Defaults to no limit."
    )
    max_length_bytes: Annotated[int, Field(ge=1, le=QUEUE_BYTES)] | None = Field(
        None,
        description="Bytes of the ready messages from which the queue is full. Defaults to no limit.",
        json_schema_extra={"format": "int64"},
    )
    overflow: Overflow | None = Field(
        None,
        description="What happens when the queue is full. RejectPublish (default): RabbitMQ refuses new messages, and "
        "publishers with confirms get nacks. DropHead, for Classic queues: the oldest messages go to the dead-letter "
        "queue.",
    )
    message_ttl_seconds: Annotated[int, Field(ge=1, le=LONGEST_TTL_SECONDS)] | None = Field(
        None,
        description="Time after which a message that no worker has received goes to the dead-letter queue. Defaults to "
        "no limit.",
    )
    delivery_limit: Annotated[int, Field(ge=1, le=DELIVERY_LIMIT)] | None = Field(
        None,
        description="Failed deliveries of a message after which it goes to the dead-letter queue, for Quorum queues "
        f"and Plain workers. Defaults to {DELIVERY_LIMIT}.",
    )
    single_active_consumer: bool = Field(
        default=False,
        description="Only one worker at a time receives messages; requires scaling.maxReplicas: 1. Cannot change once "
        "the queue exists.",
    )
    settings_by: SettingsBy = Field(
        SettingsBy.ARGUMENTS,
        description="What holds where rejected messages go, the overflow and the delivery limit. Arguments: arguments "
        "of the queue, which clients that declare the queue must repeat. Policy: a policy for this queue, so that "
        "clients may declare it as a durable queue of its type without arguments; the operator then needs the tag "
        "policymaker. Cannot change once the queue exists, except by changePolicy.",
    )
    delayed_delivery: DelayedDelivery | None = Field(
        None,
        description="Celery: the operator declares the exchanges and queues of the vhost in which Celery 5.5 and newer "
        "delay tasks with a countdown or an ETA, and binds the queue to them. Defaults to none: Celery declares them "
        "itself if its user may.",
    )
    external: bool = Field(
        default=False,
        description="The queue is managed elsewhere. The operator scales on its backlog, but never declares, binds or "
        "deletes it.",
    )
    change_policy: ChangePolicy = Field(
        ChangePolicy.NEVER,
        description="What happens to an existing queue of the operator that differs in what cannot change. Never: it "
        "stays as it is, and TopologyReady is False with reason ImmutableDrift. Migrate: the operator replaces it "
        "while publishers and workers continue; tasks may overtake older ones meanwhile.",
    )

    @property
    def has_length_limit(self) -> bool:
        """Whether its length is limited, so that it may refuse messages."""
        return self.max_length is not None or self.max_length_bytes is not None

    @property
    def refuses_from(self) -> int | None:
        """Number of ready messages from which it refuses new ones; None if it does not, or only its bytes count."""
        return None if self.overflow is Overflow.DROP_HEAD else self.max_length

    @property
    def needs_policy(self) -> bool:
        """Whether a setting is one that only a policy can change later."""
        limits = (self.message_ttl_seconds, self.delivery_limit)
        return self.has_length_limit or any(limit is not None for limit in limits)
