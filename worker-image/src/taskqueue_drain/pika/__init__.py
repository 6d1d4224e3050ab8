"""Workers by hand with pika: `with Drainable.from_environment() as worker: worker.run(handler)`."""

from .delivery import Message
from .drainable import Drainable

__all__ = ["Drainable", "Message"]
