"""A missing prerequisite is reported in one sentence, before anything long begins."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.cluster import cache
from tests.cluster.cluster_lease import lease_cluster
from tests.cluster.prerequisites import MissingError

ROOT = Path(__file__).parents[3]
AS_NOBODY = """
import os, sys
import tests.cluster.provider_local  # while everything can be read
from {module}.__main__ import main
if not os.geteuid():
    os.setuid(65534)
sys.argv = ["{module}"]
sys.exit(main({arguments}))
"""


@pytest.fixture
def writable() -> Iterator[Path]:
    """Not tmp_path, which only its owner may enter."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "arguments"), [("tests.demo", ""), ("tests.bench", ""), ("tests.cluster", "['up']")]
)
def test_without_root_the_program_fails_at_once_and_compiles_nothing(
    module: str, arguments: str, writable: Path
) -> None:
    env = {
        **os.environ,
        "CLUSTER": "local",
        "TASKQUEUE_CACHE": str(writable),
        "PYTHONPATH": os.pathsep.join(["operator", "worker-image/src"]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY.format(module=module, arguments=arguments)],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr.splitlines()[-1] == (
        "this needs root, for namespaces and mounts: use sudo, or start Docker or podman and use CLUSTER=kind"
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == 1
    assert not done.stdout
    assert not list(writable.iterdir())


def test_without_go_the_program_fails_before_it_installs_a_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("TASKQUEUE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CLUSTER", "local")
    with pytest.raises(MissingError, match=r"needs Go \S+ or newer: install it from"), lease_cluster():
        pass
    assert capsys.readouterr() == ("", "")


def test_the_error_of_a_cache_that_cannot_be_made_says_how_to_choose_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TASKQUEUE_CACHE", str(tmp_path / "file/cache"))
    with pytest.raises(MissingError, match=r"file/cache cannot be made \(.*\): set TASKQUEUE_CACHE"):
        cache.home()
