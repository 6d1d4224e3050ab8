"""The resources that measured workers request: without a request, the processes of a pod come after all others."""

from typing import Any, Final

RESOURCES: Final[dict[str, Any]] = {"requests": {"cpu": "25m", "memory": "64Mi"}}
"""All scenarios of a benchmark fit on the node, which has 2 cores."""
