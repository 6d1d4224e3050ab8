"""Runs tasks in tests as a worker does, without a broker. The fixture `tasks` comes with the extra `pytest`."""

from .task_run import DeadLetter, PublishedTask, TaskRun
from .tasks import EndlessTaskError, LifespanFailedError, Tasks

__all__ = ["DeadLetter", "EndlessTaskError", "LifespanFailedError", "PublishedTask", "TaskRun", "Tasks"]
