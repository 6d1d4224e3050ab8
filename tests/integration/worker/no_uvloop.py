"""For TASKQUEUE_MODULES, before the tasks: a worker on a machine without uvloop."""

import sys

sys.modules["uvloop"] = None  # type: ignore[assignment]  # an import then raises ImportError
