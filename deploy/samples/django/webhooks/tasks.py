"""The tasks of the app."""

import time
from collections.abc import Sequence
from http import HTTPStatus

import requests
from celery import shared_task
from celery.utils.log import get_task_logger

log = get_task_logger(__name__)


@shared_task
def deliver(urls: Sequence[str], event: object) -> None:
    """Post an event to each webhook in turn; one that does not exist yet is tried again every half second."""
    for url in urls:
        while (response := requests.post(url, json=event, timeout=10)).status_code == HTTPStatus.NOT_FOUND:
            time.sleep(0.5)
        response.raise_for_status()


@shared_task
def report() -> None:
    """Stand for a task that beat publishes again and again."""
    log.info("reported")
