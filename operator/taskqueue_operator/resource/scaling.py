"""How many workers: what users set."""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from .behavior import Behavior
from .fields import Model, rule, rules
from .schedule import Schedule

Replicas = Annotated[int, Field(ge=0, le=10000)]


class Mode(StrEnum):
    """Who decides on the number of workers."""

    AUTO = "Auto"
    PAUSED = "Paused"
    DRY_RUN = "DryRun"


class FallbackBehavior(StrEnum):
    """What the fallback makes of the present number."""

    STATIC = "Static"
    AT_LEAST = "AtLeast"
    AT_MOST = "AtMost"
    CURRENT = "Current"


class Fallback(Model):
    """What to do when the queue could not be read for a while."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.replicas) != (self.behavior == 'Current')",
                "fallback.replicas is needed, except with behavior: Current, which keeps the number there is.",
                path=".replicas",
            )
        )
    )

    after_seconds: int = Field(
        180, ge=15, le=86400, description="How long the queue must have been unreadable, the start of the operator too."
    )
    replicas: Replicas | None = Field(None, description="Number of workers for as long as that lasts.")
    behavior: FallbackBehavior = Field(
        FallbackBehavior.AT_LEAST,
        description="Static: replicas. AtLeast: no fewer than replicas. AtMost: no more than replicas. "
        "Current: the number stays.",
    )


class Scaling(Model):
    """From the queue's ready messages to a number of workers."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.minReplicas <= self.maxReplicas",
                "minReplicas is above maxReplicas. Lower minReplicas or raise maxReplicas.",
                path=".minReplicas",
            ),
            rule(
                "!has(self.pausedReplicas) || self.mode == 'Paused'",
                "pausedReplicas works only with mode: Paused. Set the mode, or remove pausedReplicas.",
                path=".pausedReplicas",
            ),
            rule(
                "!has(self.schedules) || self.schedules.all(each, each.minReplicas <= self.maxReplicas)",
                "A schedule's minReplicas is above maxReplicas. Lower it or raise maxReplicas.",
                path=".schedules",
            ),
            rule(
                "!has(self.fallback) || !has(self.fallback.replicas) || self.fallback.replicas <= self.maxReplicas",
                "fallback.replicas is above maxReplicas. Lower it or raise maxReplicas.",
                path=".fallback.replicas",
            ),
        )
    )

    mode: Mode = Field(
        Mode.AUTO,
        description="Auto: the operator decides. Paused: the number of workers stays, or goes to pausedReplicas. "
        "DryRun: the operator decides and says so, and changes nothing.",
    )
    paused_replicas: Replicas | None = Field(
        None, description="Number of workers while Paused. Absent: the number stays as it is."
    )
    min_replicas: Replicas = Field(0, description="Never fewer workers. 0: sleep while there is nothing to do.")
    max_replicas: Annotated[int, Field(ge=1, le=10000)] = Field(description="Never more workers.")
    ready_per_replica: int = Field(
        20,
        ge=1,
        le=1_000_000_000,
        description="Ready messages that one worker is there for: workers = ready / readyPerReplica, rounded up.",
    )
    activation_ready: int = Field(
        0, ge=0, le=1_000_000_000, description="Wake from zero when more messages than this are ready."
    )
    idle_seconds: int = Field(
        60, ge=0, le=86400, description="How long there must be nothing to do before the last workers go."
    )
    behavior: Behavior = Field(Behavior(), description="Pace of scaling, as in autoscaling/v2.")
    schedules: Annotated[list[Schedule], Field(max_length=16)] | None = Field(
        None,
        description="Times with a minimum of their own; where they overlap, the highest counts.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    fallback: Fallback | None = Field(
        None, description="What to do when the queue could not be read for a while. Default: the number stays."
    )
