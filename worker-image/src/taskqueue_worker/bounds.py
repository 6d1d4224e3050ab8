"""The bounds of everything that comes from outside: from messages, commands, settings and handlers.

Each constant states its unit in its name or docstring, and why it is not smaller or larger.
"""

from typing import Final

TEXT_CHARACTERS: Final = 1024
"""Longest text of a handler or a message that is repeated in a header or a log line."""

# Commands of the operator.

COMMAND_BYTES: Final = 16 * 1024
"""Largest command that is parsed. A command of the operator has 200 bytes."""
COMMAND_TEXT_CHARACTERS: Final = 256
"""Longest id or name in a command; the operator accepts no longer one in a report."""
