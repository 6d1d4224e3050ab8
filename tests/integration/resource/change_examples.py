"""Examples of changes for each CEL rule that keeps a field as it is."""

from dataclasses import dataclass, field
from typing import Any

from .rule_examples import EXTERNALS


@dataclass(frozen=True)
class Change:
    """Specs before and after a change of an immutable field; `same` is another way to write `before`."""

    before: dict[str, Any] = field(default_factory=dict)
    same: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)


IMMUTABLE = {
    "spec.queue.name": "crd.immutable_queue_name",
    "spec.exchange.name": "crd.immutable_exchange_name",
    "spec.exchange.alternateExchange": "crd.immutable_alternate_exchange",
    "spec.broker.vhost": "crd.immutable_vhost",
    "spec.queue.shards": "crd.immutable_shards",
}
"""Field, and key of the message of its rule."""

CHANGES = {
    "spec.queue.name set": Change({}, {"queue": {"name": "{name}"}}, {"queue": {"name": "other"}}),
    "spec.queue.name several": Change({"queue": {"name": "celery"}}, {"queue": {"name": "celery"}}, EXTERNALS),
    "spec.queue.name unset": Change({"queue": {"name": "media"}}, {"queue": {"name": "media"}}, {}),
    "spec.exchange.name set": Change({}, {"exchange": {"name": "{name}"}}, {"exchange": {"name": "other"}}),
    "spec.exchange.name unset": Change(
        {"exchange": {"name": "tasks"}}, {"exchange": {"name": "tasks"}}, {"exchange": {}}
    ),
    "spec.exchange.alternateExchange set": Change(
        {}, {"exchange": {"type": "Direct"}}, {"exchange": {"alternateExchange": "unrouted"}}
    ),
    "spec.exchange.alternateExchange changed": Change(
        {"exchange": {"alternateExchange": "unrouted"}},
        {"exchange": {"alternateExchange": "unrouted"}},
        {"exchange": {"alternateExchange": "other"}},
    ),
    "spec.queue.shards set": Change({}, {"queue": {}}, {"queue": {"shards": {"count": 2}}}),
    "spec.queue.shards unset": Change(
        {"queue": {"shards": {"count": 2}}}, {"queue": {"shards": {"count": 3}}}, {"queue": {"type": "Quorum"}}
    ),
    "spec.queue.shards smaller": Change(
        {"queue": {"shards": {"count": 3}}},
        {"queue": {"shards": {"count": 3, "hashOn": "RoutingKey"}}},
        {"queue": {"shards": {"count": 2}}},
    ),
    "spec.queue.shards keyed": Change(
        {"queue": {"shards": {"count": 3}}},
        {"queue": {"shards": {"count": 64}}},
        {"queue": {"shards": {"count": 64, "hashOn": "tenant"}}},
    ),
    "spec.broker.vhost set": Change({}, {}, {"broker": {"secretRef": {"name": "rabbitmq"}, "vhost": "media"}}),
    "spec.broker.vhost changed": Change(
        {"broker": {"secretRef": {"name": "rabbitmq"}, "vhost": "media"}},
        {"broker": {"secretRef": {"name": "another"}, "vhost": "media"}},
        {"broker": {"secretRef": {"name": "rabbitmq"}, "vhost": "other"}},
    ),
}
