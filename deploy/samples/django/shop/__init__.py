"""A sample Django project whose tasks run in Celery. Nothing in it knows the operator."""

from .celery import app

__all__ = ["app"]
