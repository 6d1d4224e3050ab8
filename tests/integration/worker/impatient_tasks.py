"""Has the broker's patience end after five seconds: to be named in TASKQUEUE_MODULES beside the tasks."""

from taskqueue_worker import settings

settings.CONSUMER_TIMEOUT_MARGIN_SECONDS = 5 - 2 * 870
