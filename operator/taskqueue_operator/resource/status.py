"""The status of a TaskQueue."""

from typing import Annotated, Literal

from pydantic import Field

from .fields import Model


class Backlog(Model):
    """Number of messages in the queue."""

    ready: int = Field(description="Messages that are ready for delivery.", json_schema_extra={"format": "int64"})
    unacked: int | None = Field(
        None,
        description="Messages delivered to workers and not yet acknowledged.",
        json_schema_extra={"format": "int64"},
    )
    delayed: int | None = Field(
        None,
        description="Messages that are neither, at most: they wait for a retry or for their dead-lettering. Absent "
        "before the first one.",
        json_schema_extra={"format": "int64"},
    )
    at: str = Field(description="When the queue was read.", json_schema_extra={"format": "date-time"})


class StatusCondition(Model):
    """A condition in the standard form of Kubernetes."""

    type: str = Field(max_length=316, description="Type of the condition.")
    status: Literal["True", "False", "Unknown"] = Field(description="Status of the condition.")
    reason: str = Field(max_length=1024, description="Machine-readable reason of the status.")
    message: str = Field(max_length=32768, description="Explanation of the status, and how to fix a fault.")
    observed_generation: int | None = Field(
        None, description="Generation of the spec that the condition refers to.", json_schema_extra={"format": "int64"}
    )
    last_transition_time: str = Field(
        description="When the status of the condition last changed.", json_schema_extra={"format": "date-time"}
    )


class Status(Model):
    """Observed state of the queue and its workers."""

    observed_generation: int | None = Field(
        None,
        description="Generation of the spec that the operator last reconciled.",
        json_schema_extra={"format": "int64"},
    )
    queue: str | None = Field(
        None,
        description="Name of the queue on the broker. Once set, spec.broker.vhost, spec.queue.name, spec.exchange.name "
        "and spec.exchange.alternateExchange cannot change.",
    )
    replicas: int | None = Field(None, description="Number of worker pods.")
    ready_replicas: int | None = Field(None, description="Number of ready worker pods.")
    desired_replicas: int | None = Field(None, description="Number of worker pods that the operator has decided on.")
    last_scale_time: str | None = Field(
        None,
        description="When the operator last changed the number of workers.",
        json_schema_extra={"format": "date-time"},
    )
    decision: str | None = Field(None, description="Explanation of desiredReplicas.")
    backlog: Backlog | None = Field(None, description="Number of messages in the queue, as last reported.")
    dead_letters: int | None = Field(
        None,
        description="Number of messages in the dead-letter queue, as last reported.",
        json_schema_extra={"format": "int64"},
    )
    conditions: Annotated[list[StatusCondition], Field(max_length=16)] | None = Field(
        None,
        description="Conditions of the TaskQueue.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
