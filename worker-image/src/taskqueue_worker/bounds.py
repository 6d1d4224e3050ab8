"""The bounds of everything that comes from outside: from messages, commands, settings and handlers.

Each constant states its unit in its name or docstring, and why it is not smaller or larger.
"""

from typing import Final

TEXT_CHARACTERS: Final = 1024
"""Longest text of a handler or a message that is repeated in a header or a log line."""


# Messages

PAYLOAD_BYTES: Final = 16 * 1024 * 1024
"""Longest JSON body that is decoded: the default `max_message_size` of RabbitMQ 4. Decoding may take twenty times as
much memory. A body of another content type reaches the handler as it is, whatever its length."""
INTEGER_DIGITS: Final = 4_300
"""Digits of a JSON integer: the limit of Python, whose conversion takes time that grows with the square."""
PATH_CHARACTERS: Final = 200
"""Longest path of a field in a message: of a longer one, the beginning."""
ATTEMPTS: Final = 1_000_000
"""Highest number of an attempt that a message may state; a larger one counts as this."""
HEADERS_BYTES: Final = 65_536
"""Longest headers of a message that its dead letter repeats: with those of the worker they must fit into one AMQP frame
of 128 KiB, or the broker closes the connection."""
RETURN_PAUSE_SECONDS: Final = 1.0
"""Longest pause before the attempt of a task is recorded again that another worker gave back."""
