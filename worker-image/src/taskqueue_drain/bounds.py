"""The bounds of what operator, Secret and application provide. Each constant says why it is not smaller or larger."""

from typing import Final

COMMAND_BYTES: Final = 16 * 1024
"""Largest command that is parsed. A command of the operator has 200 bytes."""
COMMAND_TEXT_CHARACTERS: Final = 256
"""Longest id or name in a command; the operator accepts no longer one in a report."""
COMMAND_INTEGER: Final = 2**63
"""Integers in a command are smaller; the operator accepts no larger one in a report."""
ANSWERS: Final = 100
"""Answers that wait for a report; an operator sends one command in five seconds."""
REPORT_DEPENDENCIES: Final = 16
"""Dependencies that a report names; the operator accepts no more."""
DEPENDENCY_CHARACTERS: Final = 63
"""Longest name of a dependency; the operator accepts no longer one."""
INSTALLATIONS: Final = 100
"""Installations whose last command is remembered; one TaskQueue has one operator, and another while it moves."""
TASK_NAMES: Final = 100
"""Names of tasks with metrics of their own; each has 20 to 30 series. A further one counts as `other`."""
HOST_CHARACTERS: Final = 253
"""Longest DNS name."""
VHOST_BYTES: Final = 127
"""Longest name of a vhost; the AMQP client refuses a longer one."""
VARIABLE_CHARACTERS: Final = 40
"""Longest value of an environment variable that a message repeats: longer than every valid one that is not a list."""
LONGEST_TIMEOUT_SECONDS: Final = 7 * 24 * 3600
"""Longest timeout of a task; the CRD allows no longer one."""
MOST_ATTEMPTS: Final = 1000
"""Most attempts of a task; the CRD allows no more."""
MOST_AUTO_PREFETCH: Final = 50
"""Most that a worker prefetches by itself, unless its concurrency is higher: a task of 20 ms may wait for a second. The
consumer timeout, which the operator derives too, grows with it."""
ATTEMPT_NUMBER: Final = 1_000_000
"""Highest number of an attempt that a message may state; a larger one counts as this."""
NAME_BYTES: Final = 255
"""Longest name of an exchange, queue or routing key in AMQP."""
