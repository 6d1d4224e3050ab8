"""Lets consumers by aio-pika be drained: `Drainable` for those that are written by hand.

The other modules are for adapters of runtimes that use aio-pika.
"""

from .drainable import Drainable, Handler

__all__ = ["Drainable", "Handler"]
