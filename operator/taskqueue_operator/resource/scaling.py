"""How many workers: the bounds and the pace that users set."""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from .fields import Model, rule, rules

Replicas = Annotated[int, Field(ge=0, le=10000)]


class Mode(StrEnum):
    """Who decides on the number of workers."""

    AUTO = "Auto"
    PAUSED = "Paused"


class ScaleDown(Model):
    """How workers are removed."""

    stabilization_window_seconds: int = Field(
        60,
        ge=0,
        le=3600,
        description="Scale in to the highest number wanted within this time, as in autoscaling/v2.",
    )


class Behavior(Model):
    """Pace of scaling, with the names and the meaning of autoscaling/v2."""

    scale_down: ScaleDown = Field(ScaleDown(), description="How workers are removed.")


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
        )
    )

    mode: Mode = Field(
        Mode.AUTO,
        description="Auto: the operator decides. Paused: the number of workers stays, or goes to pausedReplicas.",
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
