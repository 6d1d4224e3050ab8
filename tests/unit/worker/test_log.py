"""One JSON object a line, whatever is in it."""

import json
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[3] / "worker-image/src"
SCRIPT = """
import logging, structlog
from taskqueue_worker import log
log.configure()
structlog.contextvars.bind_contextvars(task_id="id-1")
own = structlog.get_logger()
own.info("ours", key={1: object})
logging.getLogger("library").warning("theirs %s", 1)
logging.getLogger("aiormq").error("noise")
try:
    raise ValueError("lone surrogate \\udcff")
except ValueError:
    own.exception("odd text")
"""


def test_every_line_is_json_and_knows_its_task() -> None:
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT], env={"PYTHONPATH": str(SOURCE)}, capture_output=True, check=True, text=True
    )
    ours, theirs, odd = map(json.loads, run.stdout.splitlines())
    assert (ours["event"], ours["task_id"], ours["level"]) == ("ours", "id-1", "info")
    assert (theirs["event"], theirs["task_id"], theirs["logger"]) == ("theirs 1", "id-1", "library")
    assert "Traceback" in odd["exception"]
    assert run.stderr == ""
