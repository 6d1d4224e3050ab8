"""What the operator reports on a TaskQueue."""

from typing import Annotated, Literal

from pydantic import Field

from .fields import Model


class Backlog(Model):
    """What waits in the queue, as last reported."""

    ready: int = Field(description="Messages that wait for a worker.", json_schema_extra={"format": "int64"})
    unacked: int | None = Field(None, description="Messages that workers hold.", json_schema_extra={"format": "int64"})
    at: str = Field(description="When this was read.", json_schema_extra={"format": "date-time"})


class StatusCondition(Model):
    """One condition, as everywhere in Kubernetes."""

    type: str = Field(max_length=316, description="What the condition is about.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: str = Field(max_length=1024, description="Why, for machines.")
    message: str = Field(max_length=32768, description="Why, for people, and the way out.")
    observed_generation: int | None = Field(
        None, description="Generation of the spec that this is about.", json_schema_extra={"format": "int64"}
    )
    last_transition_time: str = Field(description="When it last flipped.", json_schema_extra={"format": "date-time"})


class Status(Model):
    """What the operator sees and does."""

    observed_generation: int | None = Field(
        None, description="Generation of the spec that was last worked on.", json_schema_extra={"format": "int64"}
    )
    queue: str | None = Field(None, description="The queue on the broker. Once it stands here, names may not change.")
    replicas: int | None = Field(None, description="Workers there are.")
    ready_replicas: int | None = Field(None, description="Workers that consume.")
    desired_replicas: int | None = Field(None, description="Workers that the queue needs.")
    last_scale_time: str | None = Field(
        None, description="When the number of workers was last changed.", json_schema_extra={"format": "date-time"}
    )
    decision: str | None = Field(None, description="How the desired number came about.")
    backlog: Backlog | None = Field(None, description="What waits in the queue, as last reported.")
    conditions: Annotated[list[StatusCondition], Field(max_length=16)] | None = Field(
        None,
        description="What is true of the TaskQueue, since when and why.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
