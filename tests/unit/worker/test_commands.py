"""The command line, for people."""

import sys
from pathlib import Path

import pytest

from taskqueue_worker import cli as commands
from taskqueue_worker.tasks import Registry

GOOD = "from taskqueue_worker import task\n@task('image.resize')\ndef resize(payload): ...\n"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A directory for modules, an environment of a laptop, and no tasks yet."""
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


def test_check_lists_the_tasks_and_no_password(fresh: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (fresh / "tasks.py").write_text(GOOD)
    assert commands.main(["check"]) == 0
    output = capsys.readouterr().out
    assert f"image.resize  tasks.resize ({fresh}/tasks.py:2)" in output
    assert "amqp://h:5672 vhost media" in output
    assert "verysecret" not in output


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            None,
            "TASKQUEUE_MODULES names 'tasks', which cannot be imported: ModuleNotFoundError: No module named",
        ),
        ("import nowhere_to_be_found", "ModuleNotFoundError: No module named 'nowhere_to_be_found'."),
        ("x = 1 / 0", "ZeroDivisionError: division by zero."),
        ("", "No tasks: nothing in tasks (TASKQUEUE_MODULES) is decorated with @task(...)."),
        (GOOD + GOOD, "Task type 'image.resize' has two handlers: tasks.resize"),
    ],
)
def test_modules_that_cannot_be_used_end_in_a_sentence(
    fresh: Path, capsys: pytest.CaptureFixture[str], source: str | None, message: str
) -> None:
    if source is not None:
        (fresh / "tasks.py").write_text(source)
    assert commands.main(["check"]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in last


@pytest.mark.parametrize("command", ["run", "check", "publish"])
def test_bad_settings_end_every_command_with_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.setenv("RABBITMQ_URL", "amqp://u:verysecret@@/")
    more = ["--exchange", "e", "--type", "t", "{}"] if command == "publish" else []
    code = commands.main([command, *more])
    error = capsys.readouterr().err
    assert (code, "RABBITMQ_URL is not an AMQP URI" in error, "verysecret" in error) == (2, True, False)
