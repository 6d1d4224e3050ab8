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
"""Longest value of a key that is no certificate; the frame that carries the login holds no more before the tuning. A
private key of RSA with 4,096 bits has 3,300 bytes; with one of 16,384 bits, a handshake takes a quarter of a second."""
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

# Exchanges and bindings.

BINDINGS: Final = 64
"""Bindings of one TaskQueue; each is an object on the broker, which the operator compares in each round."""
BINDING_HEADERS: Final = 16
"""Arguments of one binding; RabbitMQ compares them with the headers of every message."""
HEADER_CHARACTERS: Final = 255
"""Longest value of an argument of a binding; as long as a routing key."""

# Queues.

CONSUMED_QUEUES: Final = 64
"""Queues of one TaskQueue. Each is probed once a second, and each worker has a channel with a consumer for each."""
DELAYED_NAME_CHARACTERS: Final = 255 - 2 * 28
"""Longest name of a queue of Celery's delayed tasks: a routing key has 255 bytes, and 28 bits with dots before it."""
HASH_HEADER_CHARACTERS: Final = 127
"""Longest name of a header that a message can quote."""
LONGEST_TTL_SECONDS: Final = 49 * 86_400
"""Longest time to live of a message, 49 days: RabbitMQ counts it in milliseconds, with 32 bits."""
QUEUE_MESSAGES: Final = 10**9
"""Highest limit of the messages of one queue; a quorum queue holds far fewer."""
QUEUE_BYTES: Final = 2**50
"""Highest limit of the bytes of one queue, 1 PiB: more than the disk of any broker."""
POLICY_PAIRS: Final = 1_000_000
"""Policies times queues of one vhost up to which the operator writes one: RabbitMQ compares all of them whenever it
stores a policy. 1,000 TaskQueues have 2,000 queues, so that half of them may have a policy."""

# Retries.

LONGEST_DELAY_SECONDS: Final = 32_768
"""Longest delay of a retry, 9 hours: workers delay messages in at most 16 queues, whose times are powers of two."""
DELIVERY_LIMIT: Final = 100
"""Failed deliveries of a message of a Quorum queue, after which RabbitMQ dead-letters it. Before RabbitMQ 4.3, what a
drain returns counts too. An argument of the queue, so it never changes."""

# Reports of workers.

REPORT_BYTES: Final = 16 * 1024
"""Largest report that is parsed. A report of `taskqueue_worker` has 600 bytes."""
REPORT_TEXT_CHARACTERS: Final = 256
"""Longest name or reason in a report, and longest address of its sender; AMQP allows 255 bytes for the address."""
REPORT_NUMBER: Final = 2**63 - 1
"""Highest number in a report: without a bound, one number could have thousands of digits."""
REPORT_DEPENDENCIES: Final = 16
"""Dependencies that one report names; a worker whose tasks need more has other problems."""
DEPENDENCY_CHARACTERS: Final = 63
"""Longest name of a dependency: conditions and log lines repeat it."""
DRAIN_SEQ: Final = 10**9
"""Highest `seq` that is adopted from a drain annotation; a leader that raises it once a second needs 30 years."""
REPORTS_PER_SECOND: Final = 1000
"""Reports that this process reads, shared equally by namespaces. 10,000 workers send 667 a second."""
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

# Connections to brokers.

HTTP_BODY_BYTES: Final = 32 * 1024 * 1024
"""Longest answer of a management API. The bindings of 50,000 queues take half of it."""
HTTP_OTHER_BODY_BYTES: Final = 1 << 18
"""Longest answer of a management API that is no listing, such as that about alarms or the refusal of an object."""
HTTP_BODIES_BYTES: Final = 64 * 1024 * 1024
"""Answers that are being received, all together. Beyond that the one that took the most for the longest
fails: the pod has 512 MiB by default."""
ETAG_CHARACTERS: Final = 128
"""Longest ETag that is sent again; RabbitMQ's has 20."""
JSON_CONTAINERS: Final = 500_000
"""Objects and lists in one answer; each takes 60 bytes or more of memory, and 2 bytes of the answer. A
listing of 100,000 bindings has 200,000."""
JSON_VALUES: Final = 1_500_000
"""Values in one answer. A listing of 100,000 bindings has 500,000."""
KNOWN_LISTING_VALUES: Final = 600_000
"""Values of listings that are kept parsed, all together: those of 10,000 TaskQueues, in 45 MiB; 100 bytes each at most.
What is beyond it is parsed whenever it is read."""
JSON_SLICE_BYTES: Final = 64 * 1024
"""Part of a listing that is parsed in one piece: about 500 queues, in 3 ms."""
JSON_PIECE_BYTES: Final = 1024 * 1024
"""Longest text that is parsed in one piece: an answer that is no listing, or one object of a listing."""
JSON_DEPTH: Final = 16
"""Objects and lists within one another. The deepest that RabbitMQ sends are arguments, at 4."""
COUNT: Final = 2**53
"""Largest number of messages: arithmetic with larger ones is not exact everywhere."""
AMQP_FRAME_BYTES: Final = 128 * 1024
"""Longest frame; what RabbitMQ offers by default, and the operator accepts no more."""
AMQP_METHOD_BYTES: Final = 8 * 1024
"""Longest method, and longest properties of a message. The beginning of a connection has 600 bytes. Methods have tables
that contain tables, and the decoder copies the rest of its input at each level."""
AMQP_BODY_BYTES: Final = 64 * 1024
"""Longest message that is received; of a longer one, the beginning. Longer than every report that is parsed."""
WORK_BYTES: Final = 8 * 1024
"""Bytes from a broker that count as one unit of work, as do a read of HTTP and an AMQP frame that is not an answer to a
probe. A read takes up to 0.1 ms, a frame a quarter of that."""
WORK_LINES: Final = 8
"""Lines of HTTP that count as one unit of work. A line may begin a chunk; it takes up to 0.013 ms."""
LINES_PER_PIECE: Final = 100
"""Lines of HTTP that are parsed in one piece: 1.3 ms."""
WORK_PER_TURN: Final = 10
"""Units of work that one connection pays for at a time."""
WORK_PER_STRETCH: Final = 50
"""Units of work that one connection may do before other tasks run: 5 ms."""
PEER_WORK_AT_ONCE: Final = 2000
"""Units of work that one peer may cause in one moment: a listing of 12 MiB, or of 5 MiB in chunks of 4 KiB."""
PEER_WORK_PER_SECOND: Final = 100
"""Units of work that it may cause over time. The answer to a write over HTTP has 3, a report has three frames."""
HTTP_WORK_PER_SECOND: Final = 1000
"""Units of work for all management APIs beyond their own: less than a tenth of the process."""
AMQP_WORK_PER_SECOND: Final = 4000
"""The same for AMQP connections: less than a tenth, and more than REPORTS_PER_SECOND have."""
ADDRESSES: Final = 8
"""Addresses of one host that are tried."""
RESOLVED_HOSTS: Final = 10_000
"""Hosts whose addresses are kept; each reader has two at most."""
LOOKUPS: Final = 256
"""Name resolutions at the same time; each takes a thread, also when the DNS server is silent. Hosts whose last
resolution was slow have half of them."""
LOOKUPS_PER_NAMESPACE: Final = 64
"""The same for the hosts that the Secrets of one namespace name."""
TLS_CONTEXTS: Final = 256
"""TLS contexts that are kept, one for each set of certificates; one of all public authorities takes 1 MiB."""

# Dead letters, read by the command `dlq` in a process of its own.

DEAD_LETTER_NAME_CHARACTERS: Final = 128
"""Longest task type, reason or exception class of a dead letter that is shown and compared; a line shows three."""
DEAD_LETTER_TEXT_CHARACTERS: Final = 1024
"""Longest text of an error, of a header and of a body that is shown; workers write no longer text of an error."""
DEAD_LETTER_ID_CHARACTERS: Final = 255
"""Longest message_id; AMQP allows so many bytes."""
DEAD_LETTER_HEADERS: Final = 64
"""Headers of one dead letter that are shown."""
DEAD_LETTER_GROUPS: Final = 1000
"""Groups that are counted. A task type or an exception class may be different in each message."""
DEAD_LETTERS_HELD: Final = 100_000
"""Dead letters that one command holds unacknowledged by default: the broker needs memory for each of them."""
DEAD_LETTERS_HELD_AT_MOST: Final = 1_000_000
"""The same, if the user asks for more."""
DEAD_LETTER_PROPERTIES_BYTES: Final = AMQP_FRAME_BYTES
"""Longest properties that are decoded: AMQP sends them in one frame."""
DEAD_LETTER_COPY_PROPERTIES_BYTES: Final = 96 * 1024
"""Longest headers of a redriven copy: they and the other properties fit into a frame, whatever pamqp encodes."""
DEAD_LETTER_BODY_BYTES: Final = 16 * 1024 * 1024
"""Longest body that is redriven; RabbitMQ 4 accepts no longer message by default."""
DEAD_LETTER_SHOWN_BODY_BYTES: Final = 4096
"""Beginning of a body that is kept where bodies are only shown; a character has up to four bytes."""
DEAD_LETTERS_SHOWN: Final = 100
"""Dead letters that one command shows; each takes a screen."""
REDRIVE_WINDOW: Final = 4
"""Dead letters that are delivered before the first of them is redriven: 64 MiB if each has the longest body. The
command may run in the container of the operator, which has 512 MiB."""
BROWSE_WINDOW: Final = 500
"""The same where bodies are only shown: 2 MiB, and 62 MiB if each has the longest properties."""
UNREACHABLE_DELIVERY_LIMIT: Final = 1_000_000
"""Returns to a quorum queue after which it drops a message: one listing each second would take eleven days. A limit of
-1 is none only since RabbitMQ 4.0; before, it drops a message at its first return."""
REDRIVES_PER_SECOND: Final = 10_000.0
"""Highest rate of a redrive; a quorum queue confirms fewer one by one."""

# Questions to brokers.

ZERO_PROBES_PER_SECOND: Final = 4000
"""Probes of queues at zero that one broker host answers, a tenth of what it can. Namespaces share them equally."""
PROBE_WORK_PER_SECOND: Final = 12_000
"""Work for probes of queues at zero, in questions of 26 µs: a third of a core. Namespaces share it equally."""
PROBE_BATCH_WORK: Final = 16
"""What a batch costs beside its questions, in questions; with TLS."""
VHOST_OBJECTS_PER_SECOND: Final = 1350
"""Objects of the topology of one vhost that are read. A TaskQueue has 7, of 200 bytes: a third of
PEER_WORK_PER_SECOND. A vhost with more than 8,100 objects is read less often, down to every 30 s."""
TOPOLOGY_OBJECTS_PER_SECOND: Final = 25_000
"""The same for all vhosts, shared equally by namespaces: 5 % of a core if nothing changes. Beyond it, all readers of a
namespace read less often, down to every 30 s."""
TOPOLOGY_READ_OBJECTS: Final = 2000
"""What four requests cost beside their answers, in objects; a request takes 1 ms."""
TLS_HANDSHAKES_PER_SECOND: Final = 50
"""Connections with TLS that this process begins to open, shared equally by namespaces; a handshake takes 4 ms."""
CONNECTS_PER_HOST: Final = 16
"""Connections to one broker host that are being opened at the same time; further ones wait."""
CONNECTS_PER_SECOND: Final = 250
"""Connections without TLS that this process begins to open, shared equally by namespaces; up to this many at once."""
READERS_PER_NAMESPACE: Final = 2000
"""Endpoints that are read for the Secrets of one namespace."""
READERS_PER_HOST: Final = 2500
"""Endpoints that are read on one broker host; each has two AMQP connections."""
READERS: Final = 5000
"""Endpoints that are read by this process; each takes three file descriptors and 100 KiB."""

# Status.

TERMINATION_MESSAGE_CHARACTERS: Final = 4096
"""End of the termination message of a container that is searched; the kubelet writes no longer one."""
PENDING_EVENTS: Final = 4
"""Events of one TaskQueue that wait to be posted; a later one says what is true now."""
TASKQUEUE_EVENTS_AT_ONCE: Final = 25
"""Events of one TaskQueue in a short time; what client-go allows for one object."""
TASKQUEUE_EVENTS_PER_SECOND: Final = 1 / 60
"""Events of one TaskQueue over time; the API server keeps each of them for an hour."""
WAITING_REASON_CHARACTERS: Final = 64
"""Longest reason for which a container waits, as the status shows it; those of Kubernetes are single words."""

# Log lines.

TASKQUEUE_LOG_LINES_AT_ONCE: Final = 600
"""Log lines of one TaskQueue in a short time; the removal of 500 workers is a line each."""
TASKQUEUE_LOG_LINES_PER_SECOND: Final = 0.5
"""Log lines of one TaskQueue over time."""
GROUP_LOG_LINES_AT_ONCE: Final = 6000
"""Log lines of one namespace, or of one broker host, in a short time: changed conditions of 2,000 TaskQueues."""
GROUP_LOG_LINES_PER_SECOND: Final = 20
"""Log lines of one namespace, or of one broker host, over time; each line takes 0.1 ms."""
LOG_SHARES: Final = 20_000
"""TaskQueues, namespaces and hosts whose log lines are counted; those without a line for the longest time are not."""
