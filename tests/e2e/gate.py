"""Runs inside workers of end-to-end tests, beside `audited`: a task waits until its test opens the gate.

The gate is an object on RabbitMQ's management API: open as soon as it exists. A request over HTTP uses no AMQP
connection, so that the operator observes no more of the worker than without the gate.
"""

import base64
import time
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

POLL_SECONDS = 1
TIMEOUT_SECONDS = 600
"""A gate that stays closed for so long belongs to a test that has failed."""


def wait(url: str | None) -> None:
    """Block until the gate opens, also through a restart of the broker. `None` is no gate.

    Raises:
        TimeoutError: The gate is still closed after `TIMEOUT_SECONDS`.
    """
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while url and not is_open(url):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the gate is closed after {TIMEOUT_SECONDS} s")
        time.sleep(POLL_SECONDS)


def is_open(url: str) -> bool:
    """Return whether the object at `http://user:password@host:port/path` exists; False if the server is down."""
    parts = urlsplit(url)
    credentials = base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()
    with closing(HTTPConnection(str(parts.hostname), parts.port, timeout=5)) as connection:
        try:
            connection.request("GET", parts.path, headers={"Authorization": f"Basic {credentials}"})
            return connection.getresponse().status == HTTPStatus.OK
        except (OSError, HTTPException):  # the broker restarts
            return False
