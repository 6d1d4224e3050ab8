"""For TASKQUEUE_MODULES, beside the tasks: a message waits for a slot for two seconds at most, instead of ten."""

from taskqueue_worker import subscription

subscription.LONGEST_WAIT_SECONDS = 2.0  # type: ignore[misc]  # a constant everywhere else
