"""The worker as PID 1, as its image starts it: the kernel drops signals that PID 1 has no handler for."""

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
from tests.integration.worker.eventually import TIMEOUT_SECONDS
from tests.integration.worker.running_worker import SOURCE, environment

NEW_PID_NAMESPACE = ("unshare", "--pid", "--fork", "--kill-child", "--")


def test_sigterm_before_python_has_started_ends_the_worker(tmp_path: Path) -> None:
    need_root()
    (tmp_path / "sitecustomize.py").write_text("import time; time.sleep(1)  # as on a busy node")
    variables = environment(tmp_path, PYTHONPATH=f"{tmp_path}:{SOURCE}", TASKQUEUE_QUEUES="q")
    with subprocess.Popen([*NEW_PID_NAMESPACE, *entrypoint()], env=variables) as container:
        until(lambda: any(map(is_python, children(container.pid))), "Python starts", seconds=TIMEOUT_SECONDS)
        (worker,) = children(container.pid)
        os.kill(worker, signal.SIGTERM)
        try:
            assert container.wait(TIMEOUT_SECONDS) == 0, "SIGTERM was lost"
        finally:
            container.kill()


def entrypoint() -> list[str]:
    (entrypoint,) = re.findall(r"^ENTRYPOINT (.*)$", (SOURCE.parent / "Dockerfile").read_text(), re.MULTILINE)
    return [sys.executable if word == "python" else word for word in json.loads(entrypoint)]


def is_python(pid: int) -> bool:
    return Path(f"/proc/{pid}/comm").read_text().startswith("python")
