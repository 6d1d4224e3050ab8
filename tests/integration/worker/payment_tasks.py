"""A task that needs a service, at the address in PAYMENTS_URL."""

import os
import time
import urllib.request

from taskqueue_worker import task
from taskqueue_worker.breaker import Breaker

payments = Breaker("payments", failures=1, open_seconds=2, errors=(OSError,))


@task("jobs", breaker=payments)
def charge(_: object) -> None:
    request = urllib.request.Request(os.environ["PAYMENTS_URL"], data=b"{}")  # noqa: S310 - http, of the test
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - likewise
        answer.read()
    time.sleep(0.2)
