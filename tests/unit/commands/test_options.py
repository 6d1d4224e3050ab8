"""The command line of `taskqueue-operator dlq`."""

import pytest

from taskqueue_operator.commands.dlq import main
from taskqueue_operator.commands.options import parse, selection
from taskqueue_operator.dead_letters.selection import Selection
from taskqueue_operator.resource.names import Key

URI = ["--uri", "amqp://guest@localhost/", "--queue", "jobs.dlq"]


def test_a_taskqueue_is_named_by_namespace_and_name() -> None:
    options = parse(["list", "media/thumbnails"], {})
    assert options.taskqueue == Key("media", "thumbnails")
    assert selection(options) == Selection()


def test_a_broker_is_named_by_its_uri_or_by_the_environment() -> None:
    assert parse(["list", *URI], {}).uri == "amqp://guest@localhost/"
    environment = {"RABBITMQ_URL": "amqp://u:p@elsewhere/"}
    assert parse(["list", "--queue", "q"], environment).uri == "amqp://u:p@elsewhere/"
    assert parse(["list", "media/thumbnails"], environment).uri == ""


def test_a_group_is_selected_by_type_reason_and_class() -> None:
    options = parse(["redrive", *URI, "--type", "resize", "--reason", "failed", "--class", "OSError"], {})
    assert selection(options) == Selection(type="resize", reason="failed", error_class="OSError")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ([], "COMMAND"),
        (["list"], "--uri"),
        (["list", "thumbnails"], "NAMESPACE/NAME"),
        (["list", "media/thumbnails", *URI], "--uri"),
        (["list", *URI[:2]], "--queue"),
        (["redrive", *URI], "--all"),
        (["redrive", *URI, "--all", "--id", "x"], "--all"),
        (["purge", *URI], "--all"),
        (["redrive", *URI, "--all", "--rate", "0"], "--rate"),
        (["redrive", *URI, "--all", "--rate", "nan"], "--rate"),
        (["redrive", *URI, "--all", "--rate", "1e9"], "--rate"),
        (["list", *URI, "--limit", "0"], "--limit"),
        (["list", *URI, "--limit", "1000001"], "--limit"),
        (["show", *URI, "--first", "101"], "--first"),
        (["show", *URI, "--first", "٣"], "--first"),
        (["list", *URI, "--output", "yaml"], "--output"),
    ],
)
def test_a_wrong_command_line_ends_with_code_2_and_names_the_option(
    arguments: list[str], field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        parse(arguments, {})
    assert raised.value.code == 2
    assert field in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("uri", "password", "named"),
    [
        ("amqp://guest@localhost/", "", "RABBITMQ_PASSWORD"),
        ("http://guest:canary@localhost/", "", "The command line"),
        ("amqp://guest:canary@[::1/", "", "The command line"),
    ],
)
def test_a_uri_that_cannot_be_used_is_reported_without_its_password(
    uri: str, password: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["list", "--uri", uri, "--queue", "q"], {"RABBITMQ_PASSWORD": password})
    said = capsys.readouterr().err
    assert code in {1, 2}
    assert named in said
    assert "canary" not in said


def test_a_deletion_that_no_one_can_confirm_is_refused_before_the_broker_is_contacted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    assert main(["purge", *URI, "--all"], {"RABBITMQ_PASSWORD": "x"}) == 2
    assert "--yes" in capsys.readouterr().err
