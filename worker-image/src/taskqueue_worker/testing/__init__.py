"""Runs tasks in tests as a worker does, without a broker. The fixture `tasks` comes with the extra `pytest`."""

from .task_run import DeadLetter, TaskRun
from .tasks import EndlessTaskError, Tasks

__all__ = ["DeadLetter", "EndlessTaskError", "TaskRun", "Tasks"]
