"""The bounds of everything that comes from outside: from messages, commands, settings and handlers.

Each constant states its unit in its name or docstring, and why it is not smaller or larger.
"""

from typing import Final

TEXT_CHARACTERS: Final = 1024
"""Longest text of a handler or a message that is repeated in a header or a log line."""

STACK_CHARACTERS: Final = 16_384
"""Longest stack trace in a log line: some hundred frames, and less than container runtimes cut a line at."""
STACK_FRAMES: Final = 30
"""Innermost frames of a running handler in a log line: enough for a function below the libraries it calls."""
HELD_SECONDS: Final = 5
"""How long a handler may hold the loop of the handlers, or the interpreter, before a log line names it. Longer than a
heavy import or the parsing of a large document, shorter than the report period."""
WATCH_PERIOD_SECONDS: Final = 1
"""How often the loop of the handlers is checked. Each check wakes both loops."""
CONSUMER_CHECK_SECONDS: Final = 15.0
"""How often a consumer that receives nothing is checked. The broker answers in 26 us: a thousand idle workers
cost it less than one percent of a core."""
LOST_SLOT_EXIT_CODE: Final = 70
"""Exit code (EX_SOFTWARE) of a worker that ends because a handler does not stop; never the one of a wrong setting."""
LIFESPAN_EXIT_CODE: Final = 69
"""Exit code (EX_UNAVAILABLE) of a worker whose lifespan cannot begin."""
LIFESPAN_SECONDS: Final = 60
"""How long the lifespan of the application may take to begin: longer than databases take to change their leader."""
CLOSE_SECONDS: Final = 5
"""How long the handlers' loop may take to end at the exit; what user code left on it is cancelled."""
UNSETTLED_MESSAGES: Final = 1000
"""How many ended tasks are remembered whose deliveries were lost with the connection: above the usual prefetch."""
UNSETTLED_SECONDS: Final = 3600
"""How long they are remembered. The broker delivers a lost message again at once, or after those that run before it."""

# Messages

PAYLOAD_BYTES: Final = 16 * 1024 * 1024
"""Longest JSON body that is decoded: the default `max_message_size` of RabbitMQ 4. Decoding may take twenty times as
much memory. A body of another content type reaches the handler as it is, whatever its length."""
INTEGER_DIGITS: Final = 4_300
"""Digits of a JSON integer: the limit of Python, whose conversion takes time that grows with the square."""
PATH_CHARACTERS: Final = 200
"""Longest path of a field in a message: of a longer one, the beginning."""
HEADERS_BYTES: Final = 65_536
"""Longest headers of a message that its dead letter repeats: with those of the worker they must fit into one AMQP frame
of 128 KiB, or the broker closes the connection."""
COUNTED_RETURNS: Final = 3
"""How often a worker returns a message whose queue counts that, because tasks of other queues hold all slots: quorum
queues before RabbitMQ 4.3 do, and drop a message at their delivery limit, which is 20 by default since 4.0."""
RETURN_PAUSE_SECONDS: Final = 1.0
"""Longest pause before the attempt of a task is recorded again that another worker gave back."""

LONGEST_QUEUE_SECONDS: Final = 30 * 24 * 3600
"""Longest time in a queue that the timestamp of a publisher may state: an older one is that of another event."""
CLOCK_SKEW_SECONDS: Final = 60
"""How far the clock of a publisher may be ahead of that of a worker."""
SCRAPE_SECONDS: Final = 5
"""How long a scrape waits for the metrics of the application, which are read on the loop of the handlers: Prometheus
waits 10 s by default."""

# Retries

LONGEST_DELAY_SECONDS: Final = 32_768
"""Longest delay of a retry, and time of the longest delay queue: with 1 s, 16 delay queues of a vhost."""
MOST_ATTEMPTS: Final = 1000
"""Most attempts of a task, as in the TaskQueue."""
REQUEUE_SECONDS: Final = 1
"""Shortest time until a message returns whose handler raises `Requeue`: a queue of nothing else costs little CPU."""
HELD_REQUEUE_SECONDS: Final = 30
"""How long the worker holds such a message, and its slot, where no delay queue may be used: within the margin of the
consumer timeout, which is 60 s."""
RETRY_TRIES: Final = 5
"""How often a worker tries to store a retry before it dead-letters the message: with the pauses between them, longer
than the election of a leader takes, and short enough to wait for if the user may not declare a delay queue."""
MARKER_MARGIN_SECONDS: Final = 30
"""How much longer a marker lives than its message may be delayed: longer than the operator's reading window of 12 s,
after which it sees the message in its queue."""
DECLARED_SECONDS: Final = 3600
"""How long a declared queue counts as declared. A declaration also begins the time anew after which it expires."""
DELAYED_EXPIRES_SECONDS: Final = 12 * 3600
"""After so long without a declaration, the broker removes a queue of markers: longer than DECLARED_SECONDS and the life
of a marker together."""

LARGEST_BATCH: Final = 1000
"""Most messages of a batch: the highest concurrency of a worker, since each has a slot."""

# Children

RESULT_BYTES: Final = 16 * 1024 * 1024
"""Longest result or exception that a child may send: as long as the longest payload."""
CHILD_START_SECONDS: Final = 120
"""How long the fork server may take for its start, which imports the task modules, and for the start of a child."""
CHILD_RETRY_SECONDS: Final = 10
"""After how long a message returns to its queue for which no child could be started."""
CHILD_EXIT_SECONDS: Final = 5
"""How long a child may take to end after it was killed, or has closed its connection."""
CHILD_MEMORY_PERIOD_SECONDS: Final = 0.05
"""How often the memory of children is measured, if it is limited: a process fills some 100 MiB meanwhile. Reading the
memory of one child takes 10 microseconds."""
MOST_CHILD_TASKS: Final = 1_000_000
"""Highest number of tasks after which a child is replaced."""
MOST_CHILD_MIB: Final = 1024 * 1024
"""Highest memory limit of a child: 1 TiB."""

# Publishing

TRACE_CHARACTERS: Final = 512
"""Longest header of a trace that is carried on: as much of `tracestate` as W3C Trace Context asks for."""
LATEST_VERSION: Final = 2**31 - 1
"""Highest version of a payload: every AMQP client can write it as a number."""
TIME_CHARACTERS: Final = 40
"""Longest text of a time: longer than ISO 8601 with microseconds and a zone."""
LONGEST_EXPIRATION_SECONDS: Final = 2**32 // 1000
"""Longest time until a task expires, 49 days: RabbitMQ refuses a longer `expiration`."""
HIGHEST_PRIORITY: Final = 255
"""Highest priority of a message: AMQP has one byte for it."""
