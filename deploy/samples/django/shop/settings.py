"""The settings of the project. CELERY_BROKER_URL is the URL of its broker."""

import os

SECRET_KEY = os.environ.get("SECRET_KEY", "not used: the sample has no sessions")
INSTALLED_APPS = ["webhooks"]
USE_TZ = True

CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL")
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_BEAT_SCHEDULE = {
    "report": {"task": "webhooks.tasks.report", "schedule": 10.0},
}
