"""What workers do, and did."""

from enum import StrEnum


class WorkerState(StrEnum):
    """What a worker does, as far as the operator knows."""

    NO_CONTAINER = "no_container"
    STARTING = "starting"
    CONSUMING = "consuming"
    DRAINING = "draining"
    DRAINED = "drained"
    LEAVING = "leaving"
    SILENT = "silent"


class RemovedState(StrEnum):
    """What a worker did when its pod went. Part of the API: a metric's label."""

    DRAINED = "drained"
    IDLE = "idle"
    NO_CONTAINER = "no_container"
    DRAINING = "draining"
    BUSY = "busy"
    UNKNOWN = "unknown"
