"""What runs the tasks: the worker's container and how it consumes."""

from enum import StrEnum
from math import ceil
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field, model_validator

from .fields import Model, Opaque, SecretRef, rule, rules

QUANTITIES = {
    "additionalProperties": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}
}
Quantities = Annotated[dict[str, int | str], Field(json_schema_extra=QUANTITIES)]


class Protocol(StrEnum):
    """What the workers speak with the operator."""

    TASK_QUEUE = "TaskQueue"
    PLAIN = "Plain"


HOLD_MARGIN_SECONDS: Final = 60


class EnvVar(Model):
    """One environment variable, as in a container."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})

    name: str = Field(min_length=1, max_length=256, description="Name of the variable.")
    value: str | None = Field(None, description="Its value.")
    value_from: Opaque | None = Field(None, description="Where its value comes from, as in a container.")


class Resources(Model):
    """What the container may use, as in a container."""

    requests: Quantities | None = Field(None, description="What it is sure to get.")
    limits: Quantities | None = Field(None, description="What it may use at most.")


class Worker(Model):
    """The container that consumes the queue."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.prefetch) || self.prefetch >= self.concurrency",
                "prefetch must be at least concurrency, or tasks could never fill the worker. Raise prefetch, "
                "or remove it: it is concurrency by default.",
                path=".prefetch",
            ),
            rule(
                "!has(self.acksLate) || self.protocol == 'Plain'",
                "acksLate is about workers of protocol Plain; others always acknowledge late. Remove acksLate, or set "
                "protocol: Plain.",
                path=".acksLate",
            ),
        )
    )

    image: str = Field(min_length=1, max_length=1024, description="Image of the worker, such as ghcr.io/acme/app:1.4.")
    command: list[str] | None = Field(None, max_length=64, description="Replaces the entrypoint of the image.")
    args: list[str] | None = Field(None, max_length=256, description="Replaces the command of the image.")
    env: list[EnvVar] | None = Field(
        None,
        max_length=256,
        description="Environment of the worker. Names that begin with TASKQUEUE_ belong to the operator.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    env_from: list[Opaque] | None = Field(
        None, max_length=64, description="Whole ConfigMaps and Secrets as environment, as in a container."
    )
    resources: Resources | None = Field(None, description="Requests and limits, as in a container.")
    secret_ref: SecretRef | None = Field(
        None, description="Secret with credentials of the workers' own. Default: that of the broker."
    )
    protocol: Protocol = Field(
        Protocol.TASK_QUEUE,
        description="TaskQueue: the worker runs taskqueue_worker, or keeps its contract. Plain: any AMQP consumer, "
        "such as Celery or dramatiq; whether it is idle is read from the broker.",
    )
    acks_late: bool | None = Field(
        None,
        description="Whether Plain workers acknowledge a message after its task is done (Celery: task_acks_late), so "
        "that the broker shows who runs one. Otherwise nobody is known to be idle, and workers are removed one by one.",
    )
    concurrency: int = Field(1, ge=1, le=1000, description="Tasks that one worker runs at once.")
    prefetch: Annotated[int, Field(ge=1, le=65535)] | None = Field(
        None, description="Messages that one worker holds at once. Default: concurrency."
    )
    task_timeout_seconds: int = Field(
        870,  # twice that and a minute is the half hour that the broker waits by default
        ge=1,
        le=604800,
        description="A task that takes longer is cancelled, by workers that are not Plain. The grace period of the "
        "pods follows from it.",
    )
    pod_template: Opaque | None = Field(
        None,
        description="Anything else of a PodTemplateSpec (metadata, spec), merged with what the operator makes; the "
        "worker's container is named worker. A field set both here and in worker is refused.",
    )

    @model_validator(mode="after")
    def _env_is_a_map(self) -> "Worker":
        names = [variable.name for variable in self.env or []]
        if len(names) != len(set(names)):
            raise ValueError("env: names must be unique")
        return self

    @property
    def effective_prefetch(self) -> int:
        """Messages that one worker holds at once."""
        return self.prefetch or self.concurrency

    @property
    def hold_seconds(self) -> int:
        """How long it may hold a message, from the delivery on: all that came before may take its whole time.

        Workers that can be drained and asked back have one round more: what runs all the while beside what they are
        given anew.
        """
        rounds = ceil(self.effective_prefetch / self.concurrency) + (self.protocol is Protocol.TASK_QUEUE)
        return self.task_timeout_seconds * rounds + HOLD_MARGIN_SECONDS

    def container_fields(self) -> dict[str, Any]:
        """Those fields that are a container's own, as the Kubernetes API writes them."""
        fields = {"image", "command", "args", "env", "env_from", "resources"}
        return self.model_dump(include=fields, by_alias=True, exclude_none=True)
