"""The worker runtime: task handlers, the consumer that runs them, and a publisher.

from taskqueue_worker import Context, task

@task("image.resize")
async def resize(payload: dict[str, Any], context: Context) -> None: ...
"""

from typing import TYPE_CHECKING

from .batches.batch import Batch
from .handlers.retry_rule import RetryRule
from .middleware import Call, Middleware, Proceed
from .outcomes import Duplicate, Reject, Requeue, Retry
from .tasks import Context, lifespan, task

if TYPE_CHECKING:
    from .publishing.publisher import Publisher, PublishFailedError, UnroutableError
    from .publishing.sync_publisher import SyncPublisher

__all__ = [
    "Batch",
    "Call",
    "Context",
    "Duplicate",
    "Middleware",
    "Proceed",
    "PublishFailedError",
    "Publisher",
    "Reject",
    "Requeue",
    "Retry",
    "RetryRule",
    "SyncPublisher",
    "UnroutableError",
    "lifespan",
    "task",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    # Loaded on first use: the kernel drops a SIGTERM to PID 1 until `python -m taskqueue_worker` has installed its
    # signal handler, so nothing slow may be imported before that.
    if name == "SyncPublisher":
        from .publishing.sync_publisher import SyncPublisher

        return SyncPublisher
    if name in {"Publisher", "PublishFailedError", "UnroutableError"}:
        from .publishing import publisher

        return getattr(publisher, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
