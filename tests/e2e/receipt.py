"""Runs inside workers of end-to-end tests and benchmarks, beside `audited`: the content of a receipt."""

import socket
import time
from typing import Any


def receipt(what: str, task: str, headers: Any, *, redelivered: bool) -> dict[str, Any]:  # noqa: ANN401 - of any runtime
    """Return the receipt of one delivery, which has `started` or is `done`; `headers` has `get`."""
    return {
        "what": what,
        "task": task,
        "pod": socket.gethostname(),
        "at": time.time(),
        "redelivered": redelivered,
        "acquired": headers.get("x-acquired-count", 0),
        "failed": headers.get("x-delivery-count", 0),
    }
