"""Where a synchronous publisher refuses to work."""

import sys
from types import SimpleNamespace

import pytest

from taskqueue_worker import PublishFailedError, SyncPublisher

NOWHERE = "amqp://guest:guest@127.0.0.1:1/"


@pytest.mark.parametrize(
    ("module", "function"), [("gevent.monkey", "is_module_patched"), ("eventlet.patcher", "is_monkey_patched")]
)
def test_green_threads_are_refused(monkeypatch: pytest.MonkeyPatch, module: str, function: str) -> None:
    patched: set[str] = set()
    monkeypatch.setitem(sys.modules, module, SimpleNamespace(**{function: lambda name: name in patched}))
    with SyncPublisher(NOWHERE) as publisher:
        patched |= {"threading", "thread"}
        with pytest.raises(RuntimeError, match=module):
            publisher.publish("", "jobs", {}, type="work")
        patched.clear()
        with pytest.raises(PublishFailedError):
            publisher.publish("", "jobs", {}, type="work")


async def test_a_call_on_an_event_loop_is_refused() -> None:
    with SyncPublisher(NOWHERE) as publisher, pytest.raises(RuntimeError, match="Await the publish"):
        publisher.publish("", "jobs", {}, type="work")
