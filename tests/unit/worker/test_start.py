"""The core needs no extra, and loads none."""

import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[3] / "worker-image/src"
EXTRAS = ("asyncpg", "opentelemetry", "psycopg", "pydantic", "pytest", "redis", "aiolimiter")
WITHOUT_EXTRAS = f"""
import importlib.abc, sys
class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {EXTRAS}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
"""
TASKS = "from taskqueue_worker import task\n@task('t')\ndef t(payload): ...\n"

pytestmark = pytest.mark.slow


def python(code: str, directory: Path) -> str:
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": f"{SOURCE}:{directory}"},
        capture_output=True,
        check=False,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_a_worker_loads_no_extra(tmp_path: Path) -> None:
    code = "import sys, taskqueue_worker, taskqueue_worker.app, taskqueue_worker.publishing.publisher"
    loaded = set(python(f"{code}; print(*sys.modules)", tmp_path).split())
    assert not loaded & set(EXTRAS)


def test_check_works_where_no_extra_is_installed(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(TASKS)
    code = f"{WITHOUT_EXTRAS}\nfrom taskqueue_worker.cli import main\nsys.exit(main(['check', '--offline']))"
    assert "tasks.t" in python(code, tmp_path)


def test_a_missing_extra_is_named_with_its_installation(tmp_path: Path) -> None:
    code = f"{WITHOUT_EXTRAS}\ntry:\n  import taskqueue_worker.tracing\nexcept ImportError as error:\n  print(error)"
    assert "pip install 'taskqueue-worker[opentelemetry]'" in python(code, tmp_path)
