"""The bounds of everything that comes from outside: from messages, commands, settings and handlers.

Each constant states its unit in its name or docstring, and why it is not smaller or larger.
"""

from typing import Final

TEXT_CHARACTERS: Final = 1024
"""Longest text of a handler or a message that is repeated in a header or a log line."""

# The Secret of the broker.

HOST_CHARACTERS: Final = 253
"""Longest DNS name."""
VHOST_BYTES: Final = 127
"""Longest name of a vhost; the AMQP client refuses a longer one."""
