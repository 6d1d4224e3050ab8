"""Results: the status, progress, checkpoint and result of each task, by its id."""

from .middleware import Results
from .reader import ResultReader
from .status import State, TaskStatus

__all__ = ["ResultReader", "Results", "State", "TaskStatus"]
