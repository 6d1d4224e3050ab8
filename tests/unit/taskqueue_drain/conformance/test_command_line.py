"""What the kit refuses before it starts a worker, and what it prints."""

import json
from collections.abc import Callable

import pytest

from taskqueue_drain.conformance import command_line
from taskqueue_drain.conformance.rules import RULES, Result, Verdict
from taskqueue_drain.conformance.run import Outcome
from taskqueue_drain.conformance.settings import Settings
from taskqueue_drain.conformance.task_template import TaskTemplate

URL = "amqp://user:p%40ss@broker:5673/v%2Fhost"
Play = Callable[[Result], list[Settings]]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    """Plays a run with this result for each rule."""

    def play(result: Result) -> list[Settings]:
        seen: list[Settings] = []

        async def run(settings: Settings) -> Outcome:
            seen.append(settings)
            return Outcome([Verdict(rule, result, "because") for rule in settings.rules], "its output")

        monkeypatch.setattr(command_line, "run", run)
        return seen

    return play


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--broker-url", URL], "COMMAND"),
        (["--broker-url", "amqps://broker/", "--", "worker"], "amqps"),
        (["--broker-url", "", "--", "worker"], "RABBITMQ_URL"),
        (["--broker-url", "amqp://broker:port/", "--", "worker"], "port"),
        (["--broker-url", URL, "--rule", "drian", "--", "worker"], "drian"),
        (["--broker-url", URL, "--property", "user_id=me", "--", "worker"], "user_id"),
        (["--broker-url", URL, "--header", "task", "--", "worker"], "NAME=TEXT"),
        (["--broker-url", URL, "--", "/no/such/worker"], "/no/such/worker"),
        (["--broker-url", "amqp://127.0.0.1:1/", "--", "sh"], "127.0.0.1:1"),
    ],
)
def test_what_cannot_be_run_is_said_in_one_line(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line.main(arguments) == command_line.NOT_USABLE
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert text in error


@pytest.mark.parametrize(("result", "code"), [(Result.PASS, 0), (Result.FAIL, 1), (Result.NOT_TESTED, 1)])
def test_the_exit_code_is_zero_if_all_rules_are_kept(
    play: Play, result: Result, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    (settings,) = [play(result)]
    assert command_line.main(["--broker-url", URL, "--", "worker", "--option"]) == code
    assert list(settings[0].command) == ["worker", "--option"]
    printed = capsys.readouterr()
    assert printed.out.splitlines()[0] == f"{result:<11}{'report-fields':<20}because"
    assert f"{len(RULES)} {result}" in printed.out.splitlines()[-1]
    assert "its output" in printed.err


def test_json_has_the_rules_that_were_chosen(play: Play, capsys: pytest.CaptureFixture[str]) -> None:
    play(Result.FAIL)
    assert command_line.main(["--broker-url", URL, "--json", "--rule", "lease", "--", "worker"]) == 1
    rule = {"id": "lease", "result": "FAIL", "reason": "because"}
    assert json.loads(capsys.readouterr().out) == {"conforms": False, "rules": [rule]}


def test_the_worker_gets_the_address_of_the_proxy_and_the_message_its_values() -> None:
    settings = Settings(["worker"], URL)
    assert (settings.host, settings.port) == ("broker", 5673)
    assert settings.own_url == f"{URL}?heartbeat=10"
    assert settings.url_through(99) == "amqp://user:p%40ss@127.0.0.1:99/v%2Fhost"
    message = settings.template.message("jobs", 1.5)
    assert (message.body, message.content_type) == (b'{"seconds": 1.5}', "application/json")
    assert message.message_id
    assert TaskTemplate('["{queue}", "{id}", {seconds}]').message("jobs", 2).body.startswith(b'["jobs", "')
