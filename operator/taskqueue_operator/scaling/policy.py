"""What the user allows the scaler to do, with every default applied."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from taskqueue_operator.resource.scaling import Mode
from taskqueue_operator.resource.taskqueue import TaskQueue


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of one TaskQueue; the field names are those of `spec.scaling`."""

    max_replicas: int
    min_replicas: int = 0
    ready_per_replica: int = 20
    activation_ready: int = 0
    idle: timedelta = timedelta(seconds=60)
    scale_down_window: timedelta = timedelta(seconds=60)
    concurrency: int = 1
    mode: Mode = Mode.AUTO
    paused_replicas: int | None = None

    @classmethod
    def of(cls, taskqueue: TaskQueue) -> Self:
        """Take the policy out of a TaskQueue."""
        scaling = taskqueue.spec.scaling
        return cls(
            max_replicas=scaling.max_replicas,
            min_replicas=scaling.min_replicas,
            ready_per_replica=scaling.ready_per_replica,
            activation_ready=scaling.activation_ready,
            idle=timedelta(seconds=scaling.idle_seconds),
            scale_down_window=timedelta(seconds=scaling.behavior.scale_down.stabilization_window_seconds),
            concurrency=taskqueue.spec.worker.concurrency,
            mode=scaling.mode,
            paused_replicas=scaling.paused_replicas,
        )
