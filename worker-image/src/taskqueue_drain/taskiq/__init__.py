"""taskiq joins the control protocol by `taskiq worker --receiver taskqueue_drain.taskiq:Receiver --workers 1`.

The application does not change. A task that fails is dead-lettered instead of being acknowledged.
"""

from .receiver import Receiver

__all__ = ["Receiver"]
