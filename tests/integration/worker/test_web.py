"""The examples for Flask and Django (docs/publishing.md), by servers that import them, fork, and start threads."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.cluster import ports
from tests.cluster.broker import Broker
from tests.cluster.packages import installed
from tests.idle_connections import KEEP_BRIEFLY
from tests.integration.worker.conftest import StartWorker
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.eventually import eventually
from tests.integration.worker.page_examples import example
from tests.integration.worker.running_worker import SOURCE

Server = Callable[[str, str], tuple[str, ...]]
Site = tuple[Server, Callable[[Path], str]]

WEB = Path(__file__).parent / "web.txt"
SETTINGS = """
import os
SECRET_KEY = "secret"
ROOT_URLCONF = "urls"
ALLOWED_HOSTS = ["*"]
RABBITMQ_URL = os.environ["RABBITMQ_URL"]
"""
URLS = """
from django.urls import path
import views
urlpatterns = [path("thumbnails", views.create)]
"""


def flask(folder: Path) -> str:
    """Write the application of the page; return its name for gunicorn."""
    (folder / "web.py").write_text(example("publishing.md", "\nFlask:\n", exchange="thumbnails"))
    return "web:app"


def django(folder: Path) -> str:
    """Write the view of the page, and the settings that it needs; return the name of the application for gunicorn."""
    (folder / "views.py").write_text(example("publishing.md", "\nDjango, a view:\n", exchange="thumbnails"))
    (folder / "settings.py").write_text(SETTINGS)
    (folder / "urls.py").write_text(URLS)
    return "django.core.wsgi:get_wsgi_application()"


def gunicorn(address: str, application: str) -> tuple[str, ...]:
    return "-m", "gunicorn", "--bind", address, "--workers", "2", "--threads", "4", "--preload", application


def uwsgi(address: str, application: str) -> tuple[str, ...]:
    """Start processes without a word to Python: it does not tell them that they were forked."""
    processes = ("--master", "--processes", "2", "--threads", "4", "--enable-threads")
    start = ("-c", "import pyuwsgi; pyuwsgi.run()", "--http-socket", address, "--die-on-term", "--disable-logging")
    return *start, *processes, "--module", application


@asynccontextmanager
async def served(server: Server, folder: Path, application: str, url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Serve an application until the end of the test."""
    (port,) = ports.free(1)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *server(f"127.0.0.1:{port}", application)),
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{installed(WEB)}{os.pathsep}{SOURCE}",
            "DJANGO_SETTINGS_MODULE": "settings",
            "RABBITMQ_URL": url,
        },
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30, limits=KEEP_BRIEFLY) as client:

            async def answers() -> bool:
                with suppress(httpx.TransportError):
                    return (await client.get("/nothing")).status_code == 404
                return False

            await eventually("the server", answers)
            yield client
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.parametrize(
    "site", [(gunicorn, flask), (gunicorn, django), (uwsgi, flask)], ids=["gunicorn-flask", "gunicorn-django", "uwsgi"]
)
async def test_requests_of_all_processes_and_threads_publish_tasks(
    broker: Broker, start_worker: StartWorker, queue: DeclaredQueue, tmp_path: Path, site: Site
) -> None:
    server, write = site
    exchange = await queue.channel.declare_exchange("thumbnails", durable=True)
    await (await queue.channel.get_queue(queue.name)).bind(exchange, "thumbnails")
    async with served(server, tmp_path, write(tmp_path), broker.url) as client:
        responses = await asyncio.gather(
            *(client.post("/thumbnails", json={"n": n}, headers={"Idempotency-Key": f"k-{n}"}) for n in range(40))
        )
        assert {response.status_code for response in responses} == {202}
        assert responses[7].json() == {"task": "k-7"}
        await exchange.delete()
        refused = await client.post("/thumbnails", json={"n": 40})
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
        assert refused.json()["task"]
    worker = start_worker(queues=queue.name, modules="publishing_tasks")
    await worker.wait_for_log(event="task", status="done", times=40)
    assert sorted(worker.ledger) == sorted(f"{n} k-{n}" for n in range(40))
