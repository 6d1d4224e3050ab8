"""The bounds of everything that comes from outside: from objects, Secrets, brokers, policies and workers.

Outside data beyond a bound is a fault of the TaskQueue, Secret, broker or worker that sent it, and of nothing else.
Each constant states its unit in its name or docstring, and why it is not smaller or larger.
"""

from typing import Final

MESSAGE_CHARACTERS: Final = 1024
"""Longest text from outside that a condition, an Event or a log line repeats; an Event of the API holds no more."""
FAULT_CHARACTERS: Final = 4 * MESSAGE_CHARACTERS
"""Longest message of a fault, whatever it quotes; the status accepts eight times as much."""

# Secrets.

SECRET_VALUE_BYTES: Final = 4096
"""Longest value of a key that is no certificate; the frame that carries the login holds no more before the tuning."""
CERTIFICATE_BYTES: Final = 1 << 19
"""Longest value of a key with certificates; the bundle of all public authorities takes half of it."""
HOST_CHARACTERS: Final = 253
"""Longest DNS name."""
VHOST_BYTES: Final = 127
"""Longest name of a vhost; AMQP clients refuse a longer one."""

# Objects of the API server.

BEYOND_BOUNDS: Final = "beyondBounds"
"""Key at which an object that is not read states why; the API server removes an unknown field of this name."""
OBJECT_BYTES: Final = 1 << 19
"""Largest object that is parsed; twice the largest annotations that an object can have."""
OBJECT_LEVELS: Final = 64
"""Deepest nesting that is parsed; twice that of a pod. Python's parsers and copies fail at about 330."""
OBJECT_VALUES: Final = 20_000
"""Most values of one object, about; 10 times those of a large pod. Each takes about 100 bytes once it is parsed."""
STUB_FIELD_BYTES: Final = 1 << 16
"""Largest field that is kept of an object beyond a bound; a status of the operator has a tenth of it."""
SPEC_CHARACTERS: Final = 1 << 16
"""Largest spec of a TaskQueue; most of it is repeated in each of its pods, and read again with each change of a pod."""
LIST_PAGE_OBJECTS: Final = 50
"""Objects of one page of a list; all of a page are in memory at once."""
