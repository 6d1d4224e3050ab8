"""The bounds of everything that comes from outside: from messages, commands, settings and handlers.

Each constant states its unit in its name or docstring, and why it is not smaller or larger.
"""

from typing import Final

TEXT_CHARACTERS: Final = 1024
"""Longest text of a handler or a message that is repeated in a header or a log line."""
