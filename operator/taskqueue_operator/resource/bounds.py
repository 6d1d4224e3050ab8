"""The bounds of everything that comes from outside: from objects, Secrets, brokers, policies and workers.

Outside data beyond a bound is a fault of the TaskQueue, Secret, broker or worker that sent it, and of nothing else.
Each constant states its unit in its name or docstring, and why it is not smaller or larger.
"""

from typing import Final

MESSAGE_CHARACTERS: Final = 1024
"""Longest text from outside that a condition, an Event or a log line repeats; an Event of the API holds no more."""
