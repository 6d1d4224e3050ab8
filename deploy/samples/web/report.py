"""What the web application and its workers agree on."""

import os
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

TYPE: Final = "report.build"
TASKQUEUE: Final = os.environ.get("REPORTS_TASKQUEUE", "reports")
"""Name of the TaskQueue: that of its exchange, its routing key and its queue."""
KEEP_SECONDS: Final = 7 * 86_400
"""How long the status of a task is kept after its last change, and how long a duplicate of a done task does not run."""


class Report(BaseModel):
    """The payload of a task."""

    model_config = ConfigDict(extra="forbid", strict=True)

    title: Annotated[str, Field(min_length=1, max_length=200)]
    pages: Annotated[int, Field(ge=1, le=1000)]
