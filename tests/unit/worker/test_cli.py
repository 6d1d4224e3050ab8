"""The command line."""

import sys
from pathlib import Path

import pytest

from taskqueue_worker import cli
from taskqueue_worker.tasks import Registry
from tests.approved import assert_approved

MESSAGES = {"": "worker.modules.no_task", "x = 1 / 0": "worker.modules.not_imported"}
GOOD = "from taskqueue_worker import task\n@task('image.resize')\ndef resize(payload): ...\n"


@pytest.fixture(autouse=True)
def modules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty directory for modules, an empty registry, and the environment of a worker outside Kubernetes."""
    registry = Registry()
    monkeypatch.setattr("taskqueue_worker.cli.registry", registry)
    monkeypatch.setattr("taskqueue_worker.task", registry.task)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for module in ("tasks", "more"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    for variable in ("SERVICE_BINDING_ROOT", "TASKQUEUE_MODULES", "TASKQUEUE_VHOST"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("RABBITMQ_URL", "amqp://u:verysecret@h/media")
    monkeypatch.setenv("TASKQUEUE_QUEUES", "thumbnails")
    return tmp_path


def test_check_prints_the_tasks_and_no_password(modules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (modules / "tasks.py").write_text(GOOD)
    assert cli.main(["check", "--offline"]) == 0
    output = capsys.readouterr().out
    assert f"image.resize  tasks.resize ({modules}/tasks.py:2)" in output
    assert "verysecret" not in output


def test_check_without_a_broker_needs_no_setting_of_one(modules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (modules / "tasks.py").write_text(GOOD)
    monkeypatch.delenv("RABBITMQ_URL")
    monkeypatch.delenv("TASKQUEUE_QUEUES")
    assert cli.main(["check", "--offline"]) == 0
    assert cli.main(["check"]) == 2


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        (None, "ModuleNotFoundError: No module named 'tasks'"),
        ("import nowhere_to_be_found", "ModuleNotFoundError: No module named 'nowhere_to_be_found'."),
        ("x = 1 / 0", "ZeroDivisionError: division by zero."),
        ("", "@task"),
        (GOOD + GOOD, "'image.resize' has two handlers: tasks.resize"),
    ],
)
def test_a_module_that_cannot_be_used_exits_with_code_2_and_the_cause(
    modules: Path, capsys: pytest.CaptureFixture[str], source: str | None, cause: str
) -> None:
    if source is not None:
        (modules / "tasks.py").write_text(source)
    assert cli.main(["check", "--offline"]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    if source in MESSAGES:
        assert_approved(MESSAGES[source], last)
    assert "TASKQUEUE_MODULES" in last
    assert cause in last


def test_a_task_with_a_longer_timeout_than_the_worker_is_refused(
    modules: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (modules / "tasks.py").write_text(GOOD.replace("'image.resize'", "'image.resize', timeout=871"))
    assert cli.main(["check", "--offline"]) == 2
    assert_approved("worker.timeout_too_long", capsys.readouterr().err.strip())


@pytest.mark.parametrize(
    ("batch", "key"),
    [("size=2, seconds=1", "worker.batch_too_large"), ("size=1, seconds=870", "worker.batch_too_late")],
)
def test_a_batch_that_never_becomes_full_or_begins_too_late_is_refused(
    modules: Path, capsys: pytest.CaptureFixture[str], batch: str, key: str
) -> None:
    declared = GOOD.replace("import task", "import Batch, task")
    (modules / "tasks.py").write_text(declared.replace("'image.resize'", f"'image.resize', batch=Batch({batch})"))
    assert cli.main(["check"]) == 2
    assert_approved(key, capsys.readouterr().err.strip())


@pytest.mark.parametrize("command", ["run", "check", "publish"])
def test_a_setting_that_is_not_valid_exits_every_command_with_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.setenv("RABBITMQ_URL", "amqp://u:verysecret@@/")
    options = ["--exchange", "e", "--type", "t", "{}"] if command == "publish" else []
    code = cli.main([command, *options])
    error = capsys.readouterr().err
    assert (code, "RABBITMQ_URL" in error, "verysecret" in error) == (2, True, False)


@pytest.mark.parametrize("options", [["--type", ""], ["--type", "t", "--id", "i" * 256]])
def test_a_task_that_is_not_valid_is_not_published(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    monkeypatch.setenv("RABBITMQ_URL", "amqp://localhost:1/")
    assert cli.main(["publish", "--exchange", "e", *options, "{}"]) == 2
    assert "Traceback" not in capsys.readouterr().err
