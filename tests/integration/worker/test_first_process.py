"""The worker as its image starts it: the first process in a PID namespace, to which other rules of signals apply."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from tests.cluster.prerequisites import need_root
from tests.cluster.processes import children
from tests.cluster.progress import until
from tests.integration.worker.running import PATIENCE_SECONDS, SOURCE, environment

APART = ("unshare", "--pid", "--fork", "--kill-child", "--")


def test_sigterm_before_python_has_started_ends_the_worker(tmp_path: Path) -> None:
    need_root()
    (tmp_path / "sitecustomize.py").write_text("import time; time.sleep(1)  # as on a node with more to do")
    variables = environment(tmp_path, PYTHONPATH=f"{tmp_path}:{SOURCE}", TASKQUEUE_QUEUES="q")
    with subprocess.Popen([*APART, *entrypoint()], env=variables) as container:
        until(lambda: any(map(is_python, children(container.pid))), "Python starts", seconds=PATIENCE_SECONDS)
        (worker,) = children(container.pid)
        os.kill(worker, signal.SIGTERM)
        try:
            assert container.wait(PATIENCE_SECONDS) == 0, "SIGTERM was lost"
        finally:
            container.kill()


def entrypoint() -> list[str]:
    (written,) = re.findall(r"^ENTRYPOINT (.*)$", (SOURCE.parent / "Dockerfile").read_text(), re.MULTILINE)
    return [sys.executable if word == "python" else word for word in json.loads(written)]


def is_python(pid: int) -> bool:
    return Path(f"/proc/{pid}/comm").read_text().startswith("python")
