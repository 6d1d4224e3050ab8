"""Examples of specs for each CEL rule, by the key of its message in the approved messages."""

from dataclasses import dataclass
from typing import Any

from tests.unit.resource.spec_examples import MINIMAL, changed

SCHEDULE = {"name": "office", "start": "0 8 * * *", "end": "0 18 * * *", "minReplicas": 1}
EXTERNAL = {"name": "celery", "external": True}
ONE_REPLICA = {"scaling": {"maxReplicas": 1}}
CONSISTENT_HASH = {"exchange": {"name": "tasks", "type": "ConsistentHash"}}
EXTERNALS = {"externalQueues": ["celery", "mails"]}
PLAIN = {"image": "acme/app:1", "protocol": "Plain"}
REFERENCE = {"deploymentRef": {"name": "shop-worker"}}
POD_FIELDS = {
    "crd.command_with_deployment_ref": ("command", ["celery"]),
    "crd.args_with_deployment_ref": ("args", ["worker"]),
    "crd.env_with_deployment_ref": ("env", [{"name": "A", "value": "1"}]),
    "crd.envfrom_with_deployment_ref": ("envFrom", [{"secretRef": {"name": "a"}}]),
    "crd.resources_with_deployment_ref": ("resources", {"limits": {"cpu": 1}}),
    "crd.secretref_with_deployment_ref": ("secretRef", {"name": "a"}),
    "crd.podtemplate_with_deployment_ref": ("podTemplate", {"spec": {"hostname": "a"}}),
}
HEADERS = MINIMAL | {"exchange": {"type": "Headers"}}


@dataclass(frozen=True)
class Rule:
    """The field that the message of a rule names, and examples of specs; `RULES` has them by the key of the message."""

    field: str
    accepted: dict[str, Any]
    rejected: dict[str, Any]
    name: str = "thumbnails"
    rejected_name: str = "thumbnails"


RULES = {
    "crd.min_replicas_above_max_replicas": Rule(
        "spec.scaling.minReplicas",
        changed("scaling", {"minReplicas": 3, "maxReplicas": 3}),
        changed("scaling", {"minReplicas": 4, "maxReplicas": 3}),
    ),
    "crd.paused_replicas_without_paused": Rule(
        "spec.scaling.pausedReplicas",
        changed("scaling", {"maxReplicas": 3, "mode": "Paused", "pausedReplicas": 0}),
        changed("scaling", {"maxReplicas": 3, "pausedReplicas": 0}),
    ),
    "crd.schedule_above_max_replicas": Rule(
        "spec.scaling.schedules",
        changed("scaling", {"maxReplicas": 3, "schedules": [SCHEDULE | {"minReplicas": 3}]}),
        changed("scaling", {"maxReplicas": 3, "schedules": [SCHEDULE | {"minReplicas": 4}]}),
    ),
    "crd.unknown_time_zone": Rule(
        "spec.scaling.schedules[0].timeZone",
        changed("scaling.schedules", [SCHEDULE | {"timeZone": "America/Argentina/Buenos_Aires"}]),
        changed("scaling.schedules", [SCHEDULE | {"timeZone": "Europe/Pari"}]),
    ),
    "crd.schedule_end_equals_start": Rule(
        "spec.scaling.schedules[0].end",
        changed("scaling.schedules", [SCHEDULE]),
        changed("scaling.schedules", [SCHEDULE | {"end": SCHEDULE["start"]}]),
    ),
    "crd.fallback_above_max_replicas": Rule(
        "spec.scaling.fallback.replicas",
        changed("scaling", {"maxReplicas": 3, "fallback": {"replicas": 3}}),
        changed("scaling", {"maxReplicas": 3, "fallback": {"replicas": 4}}),
    ),
    "crd.fallback_without_replicas": Rule(
        "spec.scaling.fallback.replicas",
        changed("scaling.fallback", {"behavior": "Current"}),
        changed("scaling.fallback", {"behavior": "AtMost"}),
    ),
    "crd.image_or_deployment_ref": Rule(
        "spec.worker.image",
        changed("worker", REFERENCE),
        changed("worker", REFERENCE | {"image": "a"}),
    ),
    **{
        key: Rule(
            f"spec.worker.{field}",
            changed("worker", {"image": "a", field: value}),
            changed("worker", REFERENCE | {field: value}),
        )
        for key, (field, value) in POD_FIELDS.items()
    },
    "crd.migration_of_a_deployment_ref": Rule(
        "spec.queue.changePolicy",
        changed("queue", {"changePolicy": "Never"}) | {"worker": REFERENCE},
        changed("queue", {"changePolicy": "Migrate"}) | {"worker": REFERENCE},
    ),
    "crd.prefetch_below_concurrency": Rule(
        "spec.worker.prefetch",
        changed("worker", {"image": "a", "concurrency": 4, "prefetch": 4}),
        changed("worker", {"image": "a", "concurrency": 4, "prefetch": 3}),
    ),
    "crd.no_prefetch": Rule(
        "spec.worker.prefetch",
        changed("worker", {"image": "a", "concurrency": 80, "prefetch": "Auto"}),
        changed("worker", {"image": "a", "prefetch": "auto"}),
    ),
    "crd.prefetch_auto_with_plain": Rule(
        "spec.worker.prefetch",
        changed("worker", {"image": "a", "protocol": "Plain", "prefetch": 2}),
        changed("worker", {"image": "a", "protocol": "Plain", "prefetch": "Auto"}),
    ),
    "crd.acks_late_without_plain": Rule(
        "spec.worker.acksLate",
        changed("worker", {"image": "a", "protocol": "Plain", "acksLate": True}),
        changed("worker", {"image": "a", "acksLate": False}),
    ),
    "crd.retry_with_plain": Rule(
        "spec.retry",
        changed("retry", {"maxAttempts": 2}),
        changed("retry", {"maxAttempts": 2}) | {"worker": {"image": "a", "protocol": "Plain"}},
    ),
    "crd.linear_of_a_classic_queue": Rule(
        "spec.retry.backoff",
        changed("retry", {"backoff": {"type": "Linear"}}) | {"worker": {"image": "a", "protocol": "Plain"}},
        changed("retry", {"backoff": {"type": "Linear"}}) | {"queue": {"type": "Classic"}},
    ),
    "crd.linear_with_more_attempts_than_returns": Rule(
        "spec.retry.maxAttempts",
        changed("retry", {"maxAttempts": 100, "backoff": {"type": "Linear"}}),
        changed("retry", {"maxAttempts": 101, "backoff": {"type": "Linear"}}),
    ),
    "crd.initial_delay_above_the_longest": Rule(
        "spec.retry.backoff.initialSeconds",
        changed("retry", {"backoff": {"initialSeconds": 7200, "maxSeconds": 7200}}),
        changed("retry", {"backoff": {"initialSeconds": 7200}}),
    ),
    "crd.backoff_of_an_external_queue": Rule(
        "spec.retry.backoff",
        changed("queue", EXTERNAL) | {"retry": {"maxAttempts": 3}},
        MINIMAL | EXTERNALS | {"retry": {"backoff": {}}},
    ),
    "crd.dead_letter_of_an_own_queue": Rule(
        "spec.deadLetter",
        changed("queue", EXTERNAL) | {"deadLetter": {"routingKey": "failed"}},
        changed("deadLetter", {"routingKey": "failed"}),
    ),
    "crd.limits_of_an_external_dead_letter_queue": Rule(
        "spec.deadLetter",
        changed("deadLetter", {"messageTtlSeconds": 60, "maxLength": 1}),
        MINIMAL | EXTERNALS | {"deadLetter": {"maxLength": 1}},
    ),
    "crd.max_priority_of_a_quorum_queue": Rule(
        "spec.queue.maxPriority",
        changed("queue", {"type": "Classic", "maxPriority": 5}),
        changed("queue", {"maxPriority": 5}),
    ),
    "crd.overflow_without_a_limit": Rule(
        "spec.queue.overflow",
        changed("queue", {"maxLengthBytes": 1, "overflow": "RejectPublish"}),
        changed("queue", {"overflow": "RejectPublish"}),
    ),
    "crd.drop_head_of_a_quorum_queue": Rule(
        "spec.queue.overflow",
        changed("queue", {"type": "Classic", "maxLength": 1, "overflow": "DropHead"}),
        changed("queue", {"maxLength": 1, "overflow": "DropHead"}),
    ),
    "crd.delivery_limit_of_a_classic_queue": Rule(
        "spec.queue.deliveryLimit",
        changed("queue", {"deliveryLimit": 1}) | {"worker": PLAIN},
        changed("queue", {"deliveryLimit": 1, "type": "Classic"}) | {"worker": PLAIN},
    ),
    "crd.delivery_limit_beside_attempts": Rule(
        "spec.queue.deliveryLimit",
        changed("queue", {"deliveryLimit": 1}) | {"worker": PLAIN},
        changed("queue", {"deliveryLimit": 1}),
    ),
    "crd.single_active_consumer_of_several_workers": Rule(
        "spec.scaling.maxReplicas",
        changed("queue", {"singleActiveConsumer": True}) | {"scaling": {"maxReplicas": 1}},
        changed("queue", {"singleActiveConsumer": True}) | {"scaling": {"maxReplicas": 2}},
    ),
    "crd.shards_of_an_external_queue": Rule(
        "spec.queue.shards",
        changed("queue", {"shards": {"count": 64, "hashOn": "tenant"}, "type": "Classic", "maxPriority": 3}),
        changed("queue", EXTERNAL | {"shards": {"count": 2}}),
    ),
    "crd.settings_of_shards_by_a_policy": Rule(
        "spec.queue.settingsBy",
        changed("queue", {"shards": {"count": 2}, "settingsBy": "Arguments"}),
        changed("queue", {"shards": {"count": 2}, "settingsBy": "Policy"}),
    ),
    "crd.migration_of_shards": Rule(
        "spec.queue.changePolicy",
        changed("queue", {"shards": {"count": 2}, "changePolicy": "Never"}),
        changed("queue", {"shards": {"count": 2}, "changePolicy": "Migrate"}),
    ),
    "crd.delayed_delivery_of_a_classic_queue": Rule(
        "spec.queue.delayedDelivery",
        changed("queue", {"delayedDelivery": "Celery", "type": "Quorum"}),
        changed("queue", {"delayedDelivery": "Celery", "type": "Classic"}),
    ),
    "crd.delayed_delivery_of_an_external_queue": Rule(
        "spec.queue.delayedDelivery",
        changed("queue", {"name": "celery", "delayedDelivery": "Celery"}),
        changed("queue", EXTERNAL | {"delayedDelivery": "Celery"}),
    ),
    "crd.delayed_delivery_of_shards": Rule(
        "spec.queue.delayedDelivery",
        changed("queue", {"delayedDelivery": "Celery"}),
        changed("queue", {"delayedDelivery": "Celery", "shards": {"count": 2}}),
    ),
    "crd.delayed_delivery_of_a_queue_that_is_migrated": Rule(
        "spec.queue.delayedDelivery",
        changed("queue", {"delayedDelivery": "Celery", "changePolicy": "Never"}),
        changed("queue", {"delayedDelivery": "Celery", "changePolicy": "Migrate"}),
    ),
    "crd.delayed_delivery_of_a_queue_with_a_long_name": Rule(
        "spec.queue.name",
        changed("queue", {"name": "a" * 199, "delayedDelivery": "Celery"}),
        changed("queue", {"name": "a" * 200, "delayedDelivery": "Celery"}),
    ),
    "crd.single_active_consumer_of_shards": Rule(
        "spec.queue.shards",
        changed("queue", {"shards": {"count": 2}}) | ONE_REPLICA,
        changed("queue", {"shards": {"count": 2}, "singleActiveConsumer": True}) | ONE_REPLICA,
    ),
    "crd.routing_key_divided_twice": Rule(
        "spec.queue.shards",
        changed("queue", {"shards": {"count": 2, "hashOn": "tenant"}}) | CONSISTENT_HASH,
        changed("queue", {"shards": {"count": 2}}) | CONSISTENT_HASH,
    ),
    "crd.mistyped_routing_key": Rule(
        "spec.queue.shards.hashOn",
        changed("queue", {"shards": {"count": 2, "hashOn": "RoutingKey"}}),
        changed("queue", {"shards": {"count": 2, "hashOn": "routing-key"}}),
    ),
    "crd.settings_of_an_external_queue": Rule(
        "spec.queue.external",
        changed("queue", EXTERNAL),
        changed("queue", EXTERNAL | {"messageTtlSeconds": 60}),
    ),
    "crd.external_queue_without_a_name": Rule(
        "spec.queue",
        MINIMAL | {"queue": EXTERNAL},
        MINIMAL | {"queue": {"external": True}},
    ),
    "crd.queue_beside_external_queues": Rule(
        "spec.externalQueues",
        MINIMAL | EXTERNALS,
        MINIMAL | EXTERNALS | {"queue": EXTERNAL},
    ),
    "crd.equal_external_queues": Rule(
        "spec.externalQueues",
        MINIMAL | EXTERNALS | {"deadLetter": {"routingKey": "failed"}},
        MINIMAL | {"externalQueues": ["celery", "mails", "celery"]},
    ),
    "crd.external_queue_with_an_exchange": Rule(
        "spec",
        MINIMAL | {"queue": EXTERNAL},
        MINIMAL | {"queue": EXTERNAL, "exchange": {"name": "tasks"}},
    ),
    "crd.external_queue_with_bindings": Rule(
        "spec",
        MINIMAL | {"queue": {"name": "celery"}, "bindings": [{"routingKey": "a"}]},
        MINIMAL | EXTERNALS | {"bindings": [{"routingKey": "a"}]},
    ),
    "crd.external_queue_with_a_deletion_policy": Rule(
        "spec.deletionPolicy",
        MINIMAL | {"queue": EXTERNAL, "deletionPolicy": "Retain"},
        MINIMAL | EXTERNALS | {"deletionPolicy": "Drain"},
    ),
    "crd.external_queue_that_is_adopted": Rule(
        "spec.adoptionPolicy",
        MINIMAL | {"queue": {"name": "celery"}, "adoptionPolicy": "IfMatching"},
        MINIMAL | EXTERNALS | {"adoptionPolicy": "IfMatching"},
    ),
    "crd.external_queue_with_settings_by_a_policy": Rule(
        "spec.queue.settingsBy",
        changed("queue", {"name": "celery", "settingsBy": "Policy"}),
        changed("queue", EXTERNAL | {"settingsBy": "Policy"}),
    ),
    "crd.external_queue_that_is_migrated": Rule(
        "spec.queue.changePolicy",
        changed("queue", {"name": "celery", "changePolicy": "Migrate"}),
        changed("queue", EXTERNAL | {"changePolicy": "Migrate"}),
    ),
    "crd.migration_with_a_single_active_consumer": Rule(
        "spec.queue.changePolicy",
        changed("queue", {"changePolicy": "Never", "singleActiveConsumer": True}) | ONE_REPLICA,
        changed("queue", {"changePolicy": "Migrate", "singleActiveConsumer": True}) | ONE_REPLICA,
    ),
    "crd.migration_of_plain_workers": Rule(
        "spec.queue.changePolicy",
        changed("queue.changePolicy", "Never") | {"worker": {"image": "acme/app:1", "protocol": "Plain"}},
        changed("queue.changePolicy", "Migrate") | {"worker": {"image": "acme/app:1", "protocol": "Plain"}},
    ),
    "crd.fanout_with_bindings": Rule(
        "spec.bindings",
        MINIMAL | {"exchange": {"type": "Fanout"}, "bindings": [{"exchange": "events", "routingKey": "a"}]},
        MINIMAL | {"exchange": {"type": "Fanout"}, "bindings": [{"routingKey": "a"}]},
    ),
    "crd.invalid_cron": Rule(
        "spec.scaling.schedules[0].start",
        changed("scaling.schedules", [SCHEDULE | {"start": "0 8 * * mon-fri", "end": "@daily"}]),
        changed("scaling.schedules", [SCHEDULE | {"start": "0 25 * * *"}]),
    ),
    "crd.impossible_date": Rule(
        "spec.scaling.schedules[0].start",
        changed("scaling.schedules", [SCHEDULE | {"start": "0 0 29 2 *"}]),
        changed("scaling.schedules", [SCHEDULE | {"start": "0 0 30 feb *"}]),
    ),
    "crd.invalid_quantity": Rule(
        "spec.worker.resources.limits[memory]",
        changed("worker.resources", {"limits": {"memory": "512M", "cpu": 1, "nvidia.com/gpu": "1"}}),
        changed("worker.resources", {"limits": {"memory": "512MB", "cpu": 1}}),
    ),
    "crd.name_of_a_queue_is_a_pattern": Rule(
        "spec.queue.name",
        changed("queue", {"name": "a (b) ^$", "external": True}),
        changed("queue", {"name": "^jobs-.*$"}),
    ),
    "crd.reserved_name_of_a_queue": Rule(
        "spec.queue.name",
        changed("queue", {"name": "taskqueue"}),
        changed("queue", {"name": "taskqueue.reports"}),
    ),
    "crd.reserved_name_of_an_exchange": Rule(
        "spec.exchange.name",
        changed("exchange", {"name": "amq.topic", "type": "Topic"}),
        changed("exchange", {"name": "taskqueue.reports"}),
    ),
    "crd.reserved_name_of_an_alternate_exchange": Rule(
        "spec.exchange.alternateExchange",
        changed("exchange", {"alternateExchange": "amq.fanout"}),
        changed("exchange", {"alternateExchange": "taskqueue.parking"}),
    ),
    "crd.reserved_name_of_the_exchange_of_a_binding": Rule(
        "spec.bindings[0].exchange",
        MINIMAL | {"bindings": [{"exchange": "amq.topic", "routingKey": "a"}]},
        MINIMAL | {"bindings": [{"exchange": "taskqueue.return", "routingKey": "a"}]},
    ),
    "crd.headers_without_arguments": Rule(
        "spec.bindings",
        HEADERS | {"bindings": [{"arguments": {"format": "pdf"}}, {"exchange": "events"}]},
        HEADERS | {"bindings": [{"arguments": {"format": "pdf"}}, {"routingKey": "a"}]},
    ),
    "crd.arguments_without_a_headers_exchange": Rule(
        "spec.bindings",
        MINIMAL | {"bindings": [{"exchange": "events", "arguments": {"format": "pdf"}}]},
        MINIMAL | {"bindings": [{"arguments": {"format": "pdf"}}]},
    ),
    "crd.arguments_with_a_routing_key": Rule(
        "spec.bindings[0].routingKey",
        HEADERS | {"bindings": [{"arguments": {"format": "pdf"}}]},
        HEADERS | {"bindings": [{"arguments": {"format": "pdf"}, "routingKey": "a"}]},
    ),
    "crd.arguments_without_a_header": Rule(
        "spec.bindings[0].arguments",
        HEADERS | {"bindings": [{"arguments": {"x-match": "any", "format": "pdf", "pages": 1}}]},
        HEADERS | {"bindings": [{"arguments": {"x-match": "any"}}]},
    ),
    "crd.header_that_is_not_compared": Rule(
        "spec.bindings[0].arguments",
        HEADERS | {"bindings": [{"arguments": {"x-match": "all", "format": "pdf"}}]},
        HEADERS | {"bindings": [{"arguments": {"x-match": "none", "format": "pdf"}}]},
    ),
    "crd.name_of_a_header": Rule(
        "spec.bindings[0].arguments",
        HEADERS | {"bindings": [{"arguments": {"n" * 127: "pdf"}}]},
        HEADERS | {"bindings": [{"arguments": {"n" * 128: "pdf"}}]},
    ),
    "crd.binding_without_a_routing_key": Rule(
        "spec.bindings",
        MINIMAL | {"bindings": [{"routingKey": ""}, {"exchange": "events"}]},
        MINIMAL | {"bindings": [{}]},
    ),
    "crd.three_hashes": Rule(
        "spec.bindings[0].routingKey",
        MINIMAL | {"exchange": {"type": "Topic"}, "bindings": [{"routingKey": "#.a#.#b.#"}]},
        MINIMAL | {"exchange": {"type": "Topic"}, "bindings": [{"routingKey": "#.a.#.#"}]},
    ),
    "crd.pattern_on_a_direct_exchange": Rule(
        "spec.bindings",
        MINIMAL | {"bindings": [{"routingKey": "image*.#1"}]},
        MINIMAL | {"bindings": [{"routingKey": "image.*"}]},
    ),
    "crd.equal_bindings": Rule(
        "spec.bindings",
        MINIMAL | {"bindings": [{"routingKey": "a"}, {"routingKey": "b"}]},
        MINIMAL | {"bindings": [{"routingKey": "a"}, {"routingKey": "b"}, {"routingKey": "a"}]},
    ),
    "crd.reserved_name": Rule(
        "",
        MINIMAL | {"queue": {"name": "a"}, "exchange": {"name": "a"}},
        MINIMAL,
        name="taskqueue.reports",
        rejected_name="taskqueue.reports",
    ),
    "crd.name_too_long": Rule(
        "",
        MINIMAL,
        MINIMAL,
        name="n" * 63,
        rejected_name="n" * 64,
    ),
}
