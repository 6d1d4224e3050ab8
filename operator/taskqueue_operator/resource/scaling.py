"""The part of the spec that determines the number of workers."""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from .behavior import Behavior
from .fields import Model, rule, rules
from .schedule import Schedule

Replicas = Annotated[int, Field(ge=0, le=10000)]


class Mode(StrEnum):
    """Whether the operator decides, and whether it applies its decisions."""

    AUTO = "Auto"
    PAUSED = "Paused"
    DRY_RUN = "DryRun"


class FallbackBehavior(StrEnum):
    """How the fallback combines its replicas with the current number of workers."""

    STATIC = "Static"
    AT_LEAST = "AtLeast"
    AT_MOST = "AtMost"
    CURRENT = "Current"


class Fallback(Model):
    """Number of workers while the queue cannot be read."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.replicas) != (self.behavior == 'Current')",
                "fallback.replicas is required unless behavior is Current, which forbids it. Set fallback.replicas, "
                "or remove it.",
                path=".replicas",
            )
        )
    )

    after_seconds: int = Field(
        180,
        ge=15,
        le=86400,
        description="How long the queue must be unreadable before the fallback applies. Counts from the last reading, "
        "or from the start of the operator.",
    )
    replicas: Replicas | None = Field(None, description="Number of workers while the fallback applies.")
    behavior: FallbackBehavior = Field(
        FallbackBehavior.AT_LEAST,
        description="Static: run exactly `replicas` workers. AtLeast: keep the current number, but no fewer than "
        "`replicas`. AtMost: keep the current number, but no more than `replicas`. Current: keep the current number.",
    )


class Scaling(Model):
    """Number of workers as a function of the ready messages and the running tasks."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.minReplicas <= self.maxReplicas",
                "minReplicas is greater than maxReplicas. Lower minReplicas or raise maxReplicas.",
                path=".minReplicas",
            ),
            rule(
                "!has(self.pausedReplicas) || self.mode == 'Paused'",
                "pausedReplicas requires mode: Paused. Set the mode, or remove pausedReplicas.",
                path=".pausedReplicas",
            ),
            rule(
                "!has(self.schedules) || self.schedules.all(each, each.minReplicas <= self.maxReplicas)",
                "minReplicas of a schedule is greater than maxReplicas. Lower it or raise maxReplicas.",
                path=".schedules",
            ),
            rule(
                "!has(self.fallback) || !has(self.fallback.replicas) || self.fallback.replicas <= self.maxReplicas",
                "fallback.replicas is greater than maxReplicas. Lower it or raise maxReplicas.",
                path=".fallback.replicas",
            ),
        )
    )

    mode: Mode = Field(
        Mode.AUTO,
        description="Auto: the operator sets the number of workers. Paused: the number is pausedReplicas, or does not "
        "change if that is absent. DryRun: the operator reports its decisions in the status, but does not apply them.",
    )
    paused_replicas: Replicas | None = Field(
        None, description="Number of workers while mode is Paused. If absent, the number does not change."
    )
    min_replicas: Replicas = Field(0, description="Lower limit for replicas. 0: scale to zero while the queue is idle.")
    max_replicas: Annotated[int, Field(ge=1, le=10000)] = Field(description="Upper limit for replicas.")
    ready_per_replica: int = Field(
        20,
        ge=1,
        le=1_000_000_000,
        description="Target number of ready messages per worker. A running task counts like a ready message, but no "
        "more than its share of a worker. Set 1 for long tasks, so that none waits behind another one.",
    )
    activation_ready: int = Field(
        0, ge=0, le=1_000_000_000, description="Scale from zero only when more messages than this are ready."
    )
    idle_seconds: int = Field(
        60,
        ge=0,
        le=86400,
        description="How long the queue must be idle (no message in any state) before scaling to zero.",
    )
    behavior: Behavior = Field(
        Behavior(), description="Rate of scaling, with the field names and semantics of autoscaling/v2."
    )
    schedules: Annotated[list[Schedule], Field(max_length=16)] | None = Field(
        None,
        description="Schedules that raise minReplicas at times of the day or week. If several are active, the highest "
        "minReplicas applies.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    fallback: Fallback | None = Field(
        None, description="Number of workers while the queue cannot be read. By default the number does not change."
    )
