"""Celery joins the control protocol by `celery worker -I taskqueue_drain.celery`. The application does not change.

Celery imports this module in the process of the worker, before it makes its consumer. A worker that cannot be drained
says why in one line, and goes on as plain Celery.
"""

from celery import current_app

from .step import DrainStep

current_app.steps["consumer"].add(DrainStep)
