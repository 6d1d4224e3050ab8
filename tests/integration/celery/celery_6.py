"""For `-I`, before the adapter: a version of Celery that the adapter does not know."""

import celery

celery.__version__ = "6.0.1"
