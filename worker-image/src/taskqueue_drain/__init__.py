"""The worker's side of the control protocol (docs/control-protocol.md), for every runtime of RabbitMQ workers.

`WorkerProtocol` has no I/O and no clock. It needs a `Runtime`: the worker that joins. A control channel carries its
messages over the broker: `taskqueue_drain.aio_pika_channel` for runtimes on asyncio. docs/adapters.md says how to write
an adapter.
"""

from .protocol import Drain, Figures, Identity, State
from .runtime import Observer, Runtime
from .worker_protocol import WorkerProtocol

__all__ = ["Drain", "Figures", "Identity", "Observer", "Runtime", "State", "WorkerProtocol"]
__version__ = "0.1.0"
