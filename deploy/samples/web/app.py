"""A web application that gives long work to a TaskQueue, and shows its progress."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final, Self
from uuid import UUID, uuid4

from accepted_tasks import AcceptedTasks, ExpiredError
from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, ValidationError
from readiness import Readiness
from report import Report
from starlette.requests import ClientDisconnect
from streams import NoPlaceError, Places, limited

from taskqueue_worker import PublishFailedError
from taskqueue_worker.results import State, TaskStatus
from taskqueue_worker.stores import StoreUnavailableError

BODY_BYTES: Final = 16 * 1024
BODY_SECONDS: Final = float(os.environ.get("BODY_SECONDS", "10"))
RETRY_AFTER: Final = {"Retry-After": "5"}
BODY: Final = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": Report.model_json_schema()}}}
}
"""For the page /docs: FastAPI does not see what `report` reads."""

_log = logging.getLogger("uvicorn.error")
tasks = AcceptedTasks(os.environ["RABBITMQ_URL"], os.environ["REDIS_URL"])
places = Places()
readiness = Readiness()


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Become ready beside the first requests; close the connections after the last one."""
    waiting = asyncio.create_task(readiness.wait_for(tasks))
    yield
    waiting.cancel()
    await tasks.close()


app = FastAPI(title="Reports", lifespan=lifespan, max_body_size=BODY_BYTES)


class Shown(BaseModel):
    """What clients see of a task: not its error, which is for the log of the worker."""

    id: UUID
    state: State
    progress: Any
    result: Any

    @classmethod
    def of(cls, status: TaskStatus) -> Self:
        """Show a status."""
        return cls(id=UUID(status.task_id), state=status.state, progress=status.progress, result=status.result)


async def report(request: Request) -> Report:
    """Read the body, in a limited time."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await request.body()
        return Report.model_validate_json(body)
    except TimeoutError:
        raise HTTPException(408, f"The body must arrive within {BODY_SECONDS:g} s.") from None
    except ClientDisconnect:
        raise HTTPException(400, "The body ends early.") from None
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        raise RequestValidationError(problems[:10]) from None


async def known(task_id: UUID) -> TaskStatus:
    """Return the status of the task of the path."""
    try:
        status = await tasks.status(task_id)
    except ExpiredError:
        raise HTTPException(410, "The status of this task is not kept any more.") from None
    if status is None:
        raise HTTPException(404, "There is no such task.")
    return status


@app.post("/tasks", status_code=202, openapi_extra=BODY)
async def create(
    report: Annotated[Report, Depends(report)], idempotency_key: Annotated[UUID | None, Header()] = None
) -> JSONResponse:
    """Accept a task. The key is its id: a request that is sent again with it is the same task."""
    task_id = idempotency_key or uuid4()
    try:
        await tasks.accept(task_id, report)
    except (PublishFailedError, StoreUnavailableError) as error:
        _log.warning("task not accepted: %s", error)
        sent_again = "Send the request again with this id as Idempotency-Key."
        return JSONResponse({"id": str(task_id), "detail": sent_again}, 503, RETRY_AFTER)
    return JSONResponse({"id": str(task_id)}, 202, {"Location": f"/tasks/{task_id}"})


@app.get("/tasks/{task_id}")
async def show(status: Annotated[TaskStatus, Depends(known)]) -> Shown:
    """Show the status of a task."""
    return Shown.of(status)


async def place(request: Request) -> AsyncIterator[None]:
    """Hold a place for the stream until it ends, or its client has left."""
    with places.taken(request.client.host if request.client else ""):
        yield


async def unseen(
    status: Annotated[TaskStatus, Depends(known)], last_event_id: Annotated[str | None, Header()] = None
) -> None:
    """Refuse a client that has seen the last event: 204 tells a browser not to open the stream again."""
    if status.is_final and last_event_id == _event_id(status):
        raise HTTPException(204)


@app.get("/tasks/{task_id}/events", response_class=EventSourceResponse, dependencies=[Depends(place), Depends(unseen)])
async def events(task_id: UUID) -> AsyncIterator[ServerSentEvent]:
    """Stream the status of a task, now and after each change, until it is done or dead."""
    async for status in limited(tasks.reader.changes(str(task_id))):
        yield ServerSentEvent(data=Shown.of(status), event="status", id=_event_id(status))


@app.get("/readyz")
async def ready() -> Response:
    """Answer the readiness probe."""
    return Response(status_code=200 if readiness.is_ready else 503)


@app.exception_handler(StoreUnavailableError)
async def no_store(_: Request, error: StoreUnavailableError) -> Response:
    """Answer while Redis is away."""
    _log.warning("no status: %s", error)
    return JSONResponse({"detail": "The status is not available now."}, 503, RETRY_AFTER)


@app.exception_handler(NoPlaceError)
async def no_place(_: Request, __: NoPlaceError) -> Response:
    """Refuse a stream."""
    return JSONResponse({"detail": "There are too many streams."}, 503, RETRY_AFTER)


def _event_id(status: TaskStatus) -> str:
    return f"{status.state}-{status.changed_at.timestamp():.3f}"
