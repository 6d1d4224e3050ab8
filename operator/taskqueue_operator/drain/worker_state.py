"""States of a worker: what it does now, and what it did when its pod was removed."""

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
    """What a worker did when its pod was removed. Part of the API: label values of a metric."""

    DRAINED = "drained"
    IDLE = "idle"
    NO_CONTAINER = "no_container"
    NEVER_CONSUMED = "never_consumed"
    OVERDUE = "overdue"
    DRAINING = "draining"
    BUSY = "busy"
    INTERRUPTED = "interrupted"
    UNKNOWN = "unknown"
