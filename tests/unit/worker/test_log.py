"""Each log line is one JSON object."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[3] / "worker-image/src"
SCRIPT = """
import logging, structlog
from taskqueue_worker import log
log.configure()
structlog.contextvars.bind_contextvars(task_id="id-1")
log_ = structlog.get_logger()
log_.info("own", key={1: object})
logging.getLogger("library").warning("foreign %s", 1)
logging.getLogger("aiormq").error("noise")
try:
    raise ValueError("lone surrogate \\udcff")
except ValueError:
    log_.exception("odd text")
"""


@pytest.mark.slow
def test_every_line_is_json_and_carries_its_task_id() -> None:
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT], env={"PYTHONPATH": str(SOURCE)}, capture_output=True, check=True, text=True
    )
    own, foreign, odd = map(json.loads, run.stdout.splitlines())
    assert (own["event"], own["task_id"], own["level"]) == ("own", "id-1", "info")
    assert (foreign["event"], foreign["task_id"], foreign["logger"]) == ("foreign 1", "id-1", "library")
    assert "Traceback" in odd["exception"]
    assert run.stderr == ""
