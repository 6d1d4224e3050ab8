"""The task of the workers: it takes the time of a report, and shows how far it is."""

import asyncio
import os

from report import KEEP_SECONDS, TYPE, Report

from taskqueue_worker import Context, task
from taskqueue_worker.idempotency import Idempotent
from taskqueue_worker.results import Results
from taskqueue_worker.stores import RedisStore

store = RedisStore(os.environ["REDIS_URL"])


@task(TYPE, idempotent=Idempotent(store, keep=KEEP_SECONDS), results=Results(store, keep=KEEP_SECONDS))
async def build(report: Report, context: Context) -> dict[str, object]:
    """Build a report page by page. After a lost worker it goes on with the page that follows the last checkpoint."""
    for page in range(context.resume or 0, report.pages):
        await asyncio.sleep(0.05)
        await context.checkpoint(page + 1)
        context.progress((page + 1) / report.pages)
    return {"title": report.title, "pages": report.pages}
