"""The bounds of everything that comes from outside: from objects, Secrets, brokers, policies and workers.

Outside data beyond a bound is a fault of the TaskQueue, Secret, broker or worker that sent it, and of nothing else.
Each constant states its unit in its name or docstring, and why it is not smaller or larger.
"""

from typing import Final

MESSAGE_CHARACTERS: Final = 1024
"""Longest text from outside that a condition, an Event or a log line repeats; an Event of the API holds no more."""

# Reports of workers.

REPORT_BYTES: Final = 16 * 1024
"""Largest report that is parsed. A report of `taskqueue_worker` has 600 bytes."""
REPORT_TEXT_CHARACTERS: Final = 256
"""Longest name or reason in a report, and longest address of its sender; AMQP allows 255 bytes for the address."""
REPORT_NUMBER: Final = 2**63 - 1
"""Highest number in a report: without a bound, one number could have thousands of digits."""
REPORTS_PER_SECOND: Final = 1000
"""Reports that this process reads, of all brokers together. 10,000 workers send 667 a second."""
REPORTS_PER_TURN: Final = 32
"""Reports that one control channel reads before it waits for its next turn; twice as many are on their way at most."""
REPORT_BYTES_PER_SECOND: Final = 1024 * 1024
"""Bytes of oversized reports that one control channel reads in a second; one message may have 16 MiB."""
REPORT_QUEUE_MESSAGES: Final = 10_000
"""Reports that wait in the broker; beyond that, RabbitMQ drops the oldest."""
REPORT_QUEUE_BYTES: Final = 16 * 1024 * 1024
"""Bytes of the reports that wait in the broker."""
TASKQUEUE_REPORTS_PER_SECOND: Final = 250
"""Reports of one TaskQueue that are parsed. 500 workers that drain send 100 a second, and answer commands."""
TASKQUEUE_REPORTS_AT_ONCE: Final = 2500
"""Reports of one TaskQueue that are parsed in one moment: all its workers may change their state together."""
UNKNOWN_PODS: Final = 500
"""Pods of one TaskQueue whose reports are stored before the API shows the pods; the watch lags by seconds."""
REPORT_LOG_LINES_PER_SECOND: Final = 1 / 60
"""Log lines about reports of one TaskQueue, or of one control channel, that are refused."""
REPORT_LOG_LINES_AT_ONCE: Final = 5
"""Log lines about refused reports in one moment."""
