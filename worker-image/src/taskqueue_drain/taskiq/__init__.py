"""taskiq joins the control protocol by `python -m taskqueue_drain.taskiq worker shop:broker --workers 1`.

`taskiq worker --receiver taskqueue_drain.taskiq:Receiver` joins as well, and learns of SIGTERM up to a second later.
The application does not change. A task that fails is dead-lettered instead of being acknowledged.
"""

from .receiver import Receiver

__all__ = ["Receiver"]
