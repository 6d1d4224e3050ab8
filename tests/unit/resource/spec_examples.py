"""Examples of valid and invalid specs, except for those that only CEL rules reject."""

from typing import Any

Spec = dict[str, Any]

MINIMAL: Spec = {
    "broker": {"secretRef": {"name": "rabbitmq"}},
    "worker": {"image": "ghcr.io/acme/thumbnails:1.4"},
    "scaling": {"maxReplicas": 20},
}


def changed(path: str, value: object) -> Spec:
    """Return the minimal spec with another value at a dotted path; None removes the field."""
    *parents, last = path.split(".")
    spec: Spec = {**MINIMAL}
    inner = spec
    for name in parents:
        inner[name] = dict(inner.get(name, {}))
        inner = inner[name]
    inner[last] = value
    if value is None:
        del inner[last]
    return spec


POLICIES = "spec.scaling.behavior.scaleUp.policies"
TOLERANCE = "spec.scaling.behavior.scaleDown.tolerance"


def _schedule(**fields: object) -> Spec:
    schedule = {"name": "office", "start": "0 8 * * *", "end": "0 18 * * *", "minReplicas": 1}
    return changed("scaling.schedules", [schedule | fields])


def _headers(**arguments: object) -> Spec:
    return MINIMAL | {"exchange": {"type": "Headers"}, "bindings": [{"arguments": arguments}]}


ACCEPTED: dict[str, Spec] = {
    "minimal": MINIMAL,
    "everything": {
        "broker": {"secretRef": {"name": "rabbitmq.default-user"}, "vhost": "media / 2"},
        "exchange": {"name": "tasks", "type": "Topic", "alternateExchange": "unrouted"},
        "queue": {
            "name": "thumbnails:v2 a",
            "type": "Classic",
            "maxPriority": 10,
            "settingsBy": "Policy",
            "changePolicy": "Migrate",
        },
        "bindings": [{"routingKey": "image.*"}, {"routingKey": "#"}, {"routingKey": ""}, {"exchange": "events"}],
        "retry": {"maxAttempts": 3, "backoff": {"type": "Exponential", "initialSeconds": 1, "maxSeconds": 32768}},
        "adoptionPolicy": "IfMatching",
        "deletionPolicy": "Drain",
        "worker": {
            "image": "ghcr.io/acme/thumbnails@sha256:00",
            "command": ["python"],
            "args": ["-m", "worker"],
            "env": [
                {"name": "A", "value": ""},
                {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            ],
            "envFrom": [{"configMapRef": {"name": "settings"}}],
            "resources": {"requests": {"cpu": 1, "memory": "64Mi"}, "limits": {"cpu": "1500m"}},
            "secretRef": {"name": "thumbnails-rabbitmq"},
            "protocol": "TaskQueue",
            "concurrency": 4,
            "prefetch": 8,
            "taskTimeoutSeconds": 300,
            "podTemplate": {
                "metadata": {"labels": {"team": "media"}},
                "spec": {"tolerations": [{"operator": "Exists"}]},
            },
        },
        "scaling": {
            "mode": "Paused",
            "pausedReplicas": 0,
            "minReplicas": 1,
            "maxReplicas": 50,
            "readyPerReplica": 100,
            "activationReady": 5,
            "idleSeconds": 0,
            "behavior": {
                "scaleUp": {
                    "stabilizationWindowSeconds": 0,
                    "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}],
                    "selectPolicy": "Min",
                    "tolerance": 0.05,
                },
                "scaleDown": {
                    "stabilizationWindowSeconds": 3600,
                    "policies": [{"type": "Percent", "value": 10, "periodSeconds": 60}],
                    "selectPolicy": "Disabled",
                    "tolerance": "50m",
                },
            },
            "schedules": [
                {
                    "name": "office",
                    "timeZone": "Europe/Paris",
                    "start": "0 8 * * 1-5",
                    "end": "0 18 * * mon-Fri",
                    "minReplicas": 5,
                },
                {"name": "rush", "start": "*/5 0-23/2 1,15 JAN-MAR *", "end": "@hourly", "minReplicas": 1},
            ],
            "fallback": {"afterSeconds": 60, "replicas": 6, "behavior": "Static"},
        },
    },
    "empty parts": MINIMAL | {"queue": {}, "exchange": {}},
    "headers": MINIMAL
    | {
        "exchange": {"type": "Headers"},
        "bindings": [{"arguments": {"x-match": "any", "format": "pdf", "pages": 1}}, {"arguments": {"format": ""}}],
    },
    "most arguments of a binding": MINIMAL
    | {"exchange": {"type": "Headers"}, "bindings": [{"arguments": {f"h{n}": "v" * 255 for n in range(16)}}]},
    "consistent hash": MINIMAL | {"exchange": {"type": "ConsistentHash"}},
    "fanout without bindings": MINIMAL | {"exchange": {"type": "Fanout"}},
    "plain workers": MINIMAL | {"worker": {"image": "acme/app:1", "protocol": "Plain", "acksLate": False}},
    "external": MINIMAL | {"queue": {"name": "celery", "external": True}},
    "external queues": changed("externalQueues", [f"celery ({number})" for number in range(64)]),
    "dead letters of an external queue": MINIMAL
    | {"queue": {"name": "celery", "external": True}, "deadLetter": {"exchange": "dlx", "routingKey": "failed"}},
    "limits of dead letters": changed("deadLetter", {"messageTtlSeconds": 49 * 86_400, "maxLength": 10**9}),
    "highest limits of a queue": changed(
        "queue", {"maxLength": 10**9, "maxLengthBytes": 2**50, "messageTtlSeconds": 49 * 86_400}
    ),
    "a queue of Plain workers": changed("queue", {"deliveryLimit": 100, "overflow": "RejectPublish", "maxLength": 1})
    | {"worker": {"image": "acme/app:1", "protocol": "Plain"}},
    "most shards": changed("queue", {"shards": {"count": 64, "hashOn": "h" * 127}, "maxLength": 1}),
    "a single active consumer": changed("queue", {"singleActiveConsumer": True}) | {"scaling": {"maxReplicas": 1}},
    "largest numbers": changed("scaling", {"minReplicas": 10000, "maxReplicas": 10000, "readyPerReplica": 10**9}),
    "longest queue name": changed("queue.name", "q" * 200),
}

REJECTED: dict[str, tuple[str, Spec]] = {
    "no broker": ("spec.broker", changed("broker", None)),
    "no Secret": ("spec.broker.secretRef", changed("broker", {})),
    "invalid name of a Secret": ("spec.broker.secretRef.name", changed("broker.secretRef.name", "Rabbit_MQ")),
    "an empty vhost": ("spec.broker.vhost", changed("broker.vhost", "")),
    "no external queue": ("spec.externalQueues", changed("externalQueues", [])),
    "too many external queues": ("spec.externalQueues", changed("externalQueues", [f"q{n}" for n in range(65)])),
    "a comma in a name": ("spec.externalQueues", changed("externalQueues", ["a,b"])),
    "maxAttempts 0": ("spec.retry.maxAttempts", changed("retry.maxAttempts", 0)),
    "too many attempts": ("spec.retry.maxAttempts", changed("retry.maxAttempts", 1001)),
    "unknown settingsBy": ("spec.queue.settingsBy", changed("queue.settingsBy", "Policies")),
    "unknown delayedDelivery": ("spec.queue.delayedDelivery", changed("queue.delayedDelivery", "celery")),
    "unknown changePolicy": ("spec.queue.changePolicy", changed("queue.changePolicy", "Replace")),
    "unknown type of a backoff": ("spec.retry.backoff.type", changed("retry.backoff", {"type": "Fibonacci"})),
    "no delay": ("spec.retry.backoff.initialSeconds", changed("retry.backoff", {"initialSeconds": 0})),
    "a delay of a fraction of a second": (
        "spec.retry.backoff.initialSeconds",
        changed("retry.backoff", {"initialSeconds": 0.5}),
    ),
    "a longer delay than the longest delay queue has": (
        "spec.retry.backoff.maxSeconds",
        changed("retry.backoff", {"maxSeconds": 32769}),
    ),
    "a routing key that is not ASCII": (
        "spec.deadLetter.routingKey",
        changed("queue", {"name": "celery", "external": True}) | {"deadLetter": {"routingKey": "\u00e9"}},
    ),
    "dead letters that expire at once": (
        "spec.deadLetter.messageTtlSeconds",
        changed("deadLetter", {"messageTtlSeconds": 0}),
    ),
    "dead letters that live longer than RabbitMQ counts": (
        "spec.deadLetter.messageTtlSeconds",
        changed("deadLetter", {"messageTtlSeconds": 50 * 86_400}),
    ),
    "no dead letters": ("spec.deadLetter.maxLength", changed("deadLetter", {"maxLength": 0})),
    "too many dead letters": ("spec.deadLetter.maxLength", changed("deadLetter", {"maxLength": 10**9 + 1})),
    "no worker": ("spec.worker", changed("worker", None)),
    "a reference without a name": ("spec.worker.deploymentRef", changed("worker", {"deploymentRef": {}})),
    "a reference to another namespace": (
        "spec.worker.deploymentRef.name",
        changed("worker", {"deploymentRef": {"name": "other/celery"}}),
    ),
    "an empty image": ("spec.worker.image", changed("worker.image", "")),
    "a command as text": ("spec.worker.command", changed("worker.command", "python -m worker")),
    "a variable without a name": ("spec.worker.env", changed("worker.env", [{"value": "1"}])),
    "a variable with a number as value": ("spec.worker.env", changed("worker.env", [{"name": "A", "value": 1}])),
    "a fraction of a CPU as a number": (
        "spec.worker.resources.limits.cpu",
        changed("worker.resources.limits", {"cpu": 0.5}),
    ),
    "concurrency 0": ("spec.worker.concurrency", changed("worker.concurrency", 0)),
    "taskTimeoutSeconds 0": ("spec.worker.taskTimeoutSeconds", changed("worker.taskTimeoutSeconds", 0)),
    "a fraction of a second": ("spec.worker.taskTimeoutSeconds", changed("worker.taskTimeoutSeconds", 0.5)),
    "unknown protocol": ("spec.worker.protocol", changed("worker.protocol", "Redis")),
    "acksLate as text": ("spec.worker.acksLate", changed("worker.acksLate", "perhaps")),
    "no scaling": ("spec.scaling", changed("scaling", None)),
    "no maxReplicas": ("spec.scaling.maxReplicas", changed("scaling", {"minReplicas": 1})),
    "maxReplicas 0": ("spec.scaling.maxReplicas", changed("scaling.maxReplicas", 0)),
    "too many replicas": ("spec.scaling.maxReplicas", changed("scaling.maxReplicas", 10001)),
    "negative replicas": ("spec.scaling.minReplicas", changed("scaling.minReplicas", -1)),
    "unknown mode": ("spec.scaling.mode", changed("scaling.mode", "Predictive")),
    "unknown type of a policy": (POLICIES, changed(POLICIES[5:], [{"type": "Cores", "value": 1, "periodSeconds": 1}])),
    "a policy without a period": (POLICIES, changed(POLICIES[5:], [{"type": "Pods", "value": 1}])),
    "an empty list of policies": (POLICIES, changed(POLICIES[5:], [])),
    "a period longer than an HPA accepts": (
        POLICIES,
        changed(POLICIES[5:], [{"type": "Pods", "value": 1, "periodSeconds": 1801}]),
    ),
    "a negative tolerance": (TOLERANCE, changed(TOLERANCE[5:], -0.1)),
    "a tolerance in percent": (TOLERANCE, changed(TOLERANCE[5:], "5%")),
    "a boolean as tolerance": (TOLERANCE, changed(TOLERANCE[5:], value=True)),
    "an object as tolerance": (TOLERANCE, changed(TOLERANCE[5:], {"value": 1})),
    "a schedule without an end": ("spec.scaling.schedules", changed("scaling.schedules", [{"name": "a"}])),
    "a schedule with minReplicas 0": ("spec.scaling.schedules", _schedule(minReplicas=0)),
    "a fallback after less than 15 seconds": (
        "spec.scaling.fallback.afterSeconds",
        changed("scaling.fallback", {"afterSeconds": 14}),
    ),
    "unknown behavior of a fallback": ("spec.scaling.fallback.behavior", changed("scaling.fallback.behavior", "Zero")),
    "a window longer than an hour": (
        "spec.scaling.behavior.scaleDown.stabilizationWindowSeconds",
        changed("scaling.behavior.scaleDown.stabilizationWindowSeconds", 3601),
    ),
    "type of an exchange in lower case": ("spec.exchange.type", changed("exchange.type", "direct")),
    "unknown type of a queue": ("spec.queue.type", changed("queue.type", "Stream")),
    "an empty name of a queue": ("spec.queue.name", changed("queue.name", "")),
    "a comma in the name of a queue": ("spec.queue.name", changed("queue.name", "a,b")),
    "a name of a queue that is too long": ("spec.queue.name", changed("queue.name", "q" * 201)),
    "priority 256": ("spec.queue.maxPriority", changed("queue", {"type": "Classic", "maxPriority": 256})),
    "one shard": ("spec.queue.shards.count", changed("queue.shards", {"count": 1})),
    "too many shards": ("spec.queue.shards.count", changed("queue.shards", {"count": 65})),
    "no number of shards": ("spec.queue.shards.count", changed("queue.shards", {"hashOn": "tenant"})),
    "an empty name of a header": ("spec.queue.shards.hashOn", changed("queue.shards", {"count": 2, "hashOn": ""})),
    "a long name of a header": ("spec.queue.shards.hashOn", changed("queue.shards", {"count": 2, "hashOn": "h" * 128})),
    "a queue without room": ("spec.queue.maxLength", changed("queue", {"maxLength": 0})),
    "more messages than a queue holds": ("spec.queue.maxLength", changed("queue", {"maxLength": 10**9 + 1})),
    "a queue without bytes": ("spec.queue.maxLengthBytes", changed("queue", {"maxLengthBytes": 0})),
    "more bytes than a disk has": ("spec.queue.maxLengthBytes", changed("queue", {"maxLengthBytes": 2**50 + 1})),
    "unknown overflow": ("spec.queue.overflow", changed("queue", {"maxLength": 1, "overflow": "DropTail"})),
    "messages that expire at once": ("spec.queue.messageTtlSeconds", changed("queue", {"messageTtlSeconds": 0})),
    "messages that live longer than RabbitMQ counts": (
        "spec.queue.messageTtlSeconds",
        changed("queue", {"messageTtlSeconds": 50 * 86_400}),
    ),
    "no deliveries": ("spec.queue.deliveryLimit", changed("queue", {"deliveryLimit": 0})),
    "more deliveries than the argument allows": ("spec.queue.deliveryLimit", changed("queue", {"deliveryLimit": 101})),
    "a single active consumer as text": (
        "spec.queue.singleActiveConsumer",
        changed("queue", {"singleActiveConsumer": "perhaps"}),
    ),
    "external as text": ("spec.queue.external", changed("queue", {"name": "a", "external": "perhaps"})),
    "an empty list of bindings": ("spec.bindings", MINIMAL | {"bindings": []}),
    "no arguments of a binding": ("spec.bindings", _headers()),
    "too many arguments of a binding": ("spec.bindings", _headers(**{f"h{n}": n for n in range(17)})),
    "a boolean as header": ("spec.bindings", _headers(urgent=True)),
    "a fraction as header": ("spec.bindings", _headers(size=0.5)),
    "an object as header": ("spec.bindings", _headers(format={"a": 1})),
    "a list as header": ("spec.bindings", _headers(format=["pdf"])),
    "an empty name of an alternate exchange": (
        "spec.exchange.alternateExchange",
        changed("exchange.alternateExchange", ""),
    ),
    "an empty name of the exchange of a binding": ("spec.bindings", MINIMAL | {"bindings": [{"exchange": ""}]}),
    "a routing key that is too long": ("spec.bindings", MINIMAL | {"bindings": [{"routingKey": "k" * 256}]}),
    "unknown adoption policy": ("spec.adoptionPolicy", MINIMAL | {"adoptionPolicy": "Always"}),
    "unknown deletion policy": ("spec.deletionPolicy", MINIMAL | {"deletionPolicy": "Purge"}),
}
