"""The part of the spec that describes the worker container and how it consumes the queue."""

from enum import StrEnum
from math import ceil
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, model_validator

from .fields import KubernetesName, Model, Opaque, SecretRef, rule, rules
from .quantity import QUANTITY_HINT

QUANTITIES: Final = {
    "additionalProperties": {
        "x-kubernetes-int-or-string": True,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "maxLength": 64,
    }
    | rules(rule("type(self) == int || isQuantity(self)", f"is not a quantity. {QUANTITY_HINT}", value="string(self)"))
}
Quantity = int | Annotated[str, Field(max_length=64)]
Quantities = Annotated[dict[str, Quantity], Field(max_length=16, json_schema_extra=QUANTITIES)]


class Protocol(StrEnum):
    """Protocol between workers and operator."""

    TASK_QUEUE = "TaskQueue"
    PLAIN = "Plain"


AUTO: Final = "Auto"
MOST_AUTO_PREFETCH: Final = 50
"""Most that a worker prefetches by itself, unless its concurrency is higher (docs/worker-contract.md)."""
HOLD_MARGIN_SECONDS: Final = 60
"""Time to settle a message after the last task, in addition to the timeouts of the tasks."""


class EnvVar(Model):
    """Environment variable of the container."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})

    name: str = Field(min_length=1, max_length=256, description="Name of the variable.")
    value: str | None = Field(None, description="Value of the variable.")
    value_from: Opaque | None = Field(None, description="Source of the value, as in a container.")


class Resources(Model):
    """Compute resources of the container."""

    requests: Quantities | None = Field(None, description="Guaranteed resources.")
    limits: Quantities | None = Field(None, description="Upper limits of resources.")


class DeploymentRef(Model):
    """Reference to a Deployment in the namespace of the TaskQueue."""

    name: KubernetesName = Field(description="Name of the Deployment, in the namespace of the TaskQueue.")


POD_FIELDS: Final = ("command", "args", "env", "envFrom", "resources", "secretRef", "podTemplate")
"""Fields that describe pods: the template of a referenced Deployment has them instead."""


class Worker(Model):
    """Container that runs the tasks."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.image) != has(self.deploymentRef)",
                "Exactly one of image and deploymentRef is required. Set image, and the operator creates the "
                "Deployment; or set deploymentRef to the name of a Deployment that exists.",
                path=".image",
            ),
            *(
                rule(
                    f"!has(self.deploymentRef) || !has(self.{field})",
                    f"{field} has no effect on a Deployment of others. Remove {field}, and change the template of that "
                    "Deployment; or set image in place of deploymentRef.",
                    path=f".{field}",
                )
                for field in POD_FIELDS
            ),
            rule(
                "!has(self.prefetch) || type(self.prefetch) != int || self.prefetch >= self.concurrency",
                "prefetch is less than concurrency, so that a worker could never run that many tasks. Raise prefetch, "
                "or remove it: it defaults to concurrency.",
                path=".prefetch",
            ),
            rule(
                "!has(self.prefetch) || type(self.prefetch) == int || self.protocol == 'TaskQueue'",
                "prefetch: Auto requires protocol: TaskQueue. Plain workers have a prefetch of their own: set the same "
                "number here.",
                path=".prefetch",
            ),
            rule(
                "!has(self.acksLate) || self.protocol == 'Plain'",
                "acksLate requires protocol: Plain. Workers of protocol TaskQueue always acknowledge late. Remove "
                "acksLate, or set protocol: Plain.",
                path=".acksLate",
            ),
        )
    )

    image: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        None,
        description="Image of the worker, such as ghcr.io/acme/app:1.4. The operator creates and owns the Deployment.",
    )
    deployment_ref: DeploymentRef | None = Field(
        None,
        description="Existing Deployment with the workers, in place of image. The operator writes its replicas, "
        "annotation taskqueue.dev/drain, and deletion costs of its pods; nothing else. The Deployment and its template "
        "need label taskqueue.dev/name with the name of the TaskQueue.",
    )
    command: list[str] | None = Field(None, max_length=64, description="Replaces the entrypoint of the image.")
    args: list[str] | None = Field(None, max_length=256, description="Replaces the command of the image.")
    env: list[EnvVar] | None = Field(
        None,
        max_length=256,
        description="Environment variables. Names that begin with TASKQUEUE_ (except TASKQUEUE_MODULES and "
        "TASKQUEUE_LOG_LEVEL), and SERVICE_BINDING_ROOT, are reserved for the operator.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    env_from: list[Opaque] | None = Field(
        None, max_length=64, description="ConfigMaps and Secrets that provide environment variables, as in a container."
    )
    resources: Resources | None = Field(None, description="Requests and limits, as in a container.")
    secret_ref: SecretRef | None = Field(
        None, description="Secret with the credentials of the workers. Defaults to spec.broker.secretRef."
    )
    protocol: Protocol = Field(
        Protocol.TASK_QUEUE,
        description="TaskQueue: the worker runs taskqueue_worker, or implements the worker contract. Plain: any AMQP "
        "consumer, such as Celery or dramatiq; the operator reads from the broker whether it is idle.",
    )
    acks_late: bool | None = Field(
        None,
        description="Whether Plain workers acknowledge a message after its task has finished (Celery: "
        "task_acks_late). Then the broker shows which workers are idle. Otherwise idleness is unknown, and workers "
        "are removed one at a time.",
    )
    concurrency: int = Field(1, ge=1, le=1000, description="Number of tasks that one worker runs at the same time.")
    prefetch: Annotated[int, Field(ge=1, le=65535)] | Literal["Auto"] | None = Field(
        None,
        description="Number of unacknowledged messages per worker. Defaults to concurrency. Auto: taskqueue_worker "
        "prefetches from concurrency to 50 messages, the more the shorter its tasks are.",
        json_schema_extra={"x-kubernetes-int-or-string": True, "maxLength": 16}
        | rules(
            rule(
                "type(self) == int ? self >= 1 && self <= 65535 : self == 'Auto'",
                "is no prefetch. Set an integer from 1 to 65535, or Auto.",
                value="string(self)",
            )
        ),
    )
    task_timeout_seconds: int = Field(
        870,  # twice that and one minute are 30 minutes, the default consumer timeout of RabbitMQ
        ge=1,
        le=604800,
        description="Longest run time of a task. Workers of protocol TaskQueue cancel a task that takes longer. Also "
        "determines the termination grace period of the pods.",
    )
    pod_template: Opaque | None = Field(
        None,
        description="PodTemplateSpec (metadata, spec) that is merged into the template of the operator. The container "
        "of the worker is named worker. A field that is set both here and in spec.worker is rejected.",
    )

    @model_validator(mode="after")
    def _has_one_source(self) -> "Worker":
        if (self.image is None) == (self.deployment_ref is None):
            raise ValueError("exactly one of image and deploymentRef is required")
        return self

    @model_validator(mode="after")
    def _env_is_a_map(self) -> "Worker":
        names = [variable.name for variable in self.env or []]
        if len(names) != len(set(names)):
            raise ValueError("env: names must be unique")
        return self

    @property
    def most_prefetch(self) -> int:
        """Most unacknowledged messages per worker and queue."""
        return max(self.concurrency, MOST_AUTO_PREFETCH) if self.prefetch == AUTO else self.prefetch or self.concurrency

    def hold_seconds(self, queues: int = 1) -> int:
        """Return the longest time from the delivery of a message to its acknowledgement, in seconds.

        All messages that were prefetched before it, from each of the queues, may take the full task timeout. Workers of
        protocol TaskQueue need one round more: after an undrain they run new deliveries beside tasks that started
        before the drain.
        """
        held = self.most_prefetch * queues
        rounds = ceil(held / self.concurrency) + (self.protocol is Protocol.TASK_QUEUE)
        return self.task_timeout_seconds * rounds + HOLD_MARGIN_SECONDS

    def container_fields(self) -> dict[str, Any]:
        """Return the fields of a Kubernetes container, with the names of the API."""
        fields = {"image", "command", "args", "env", "env_from", "resources"}
        return self.model_dump(include=fields, by_alias=True, exclude_none=True)
