"""Settings that are accepted, and the messages for those that are not."""

import dataclasses
from pathlib import Path

import pytest

from taskqueue_drain.broker import BindingDirectory, BrokerError, BrokerUri
from taskqueue_drain.consume_settings import ConsumeSettings
from taskqueue_drain.environment import SettingsError
from taskqueue_worker.pools.child_limits import ChildLimits
from taskqueue_worker.retry_policy import RetryPolicy
from taskqueue_worker.settings import LEVELS, Settings
from tests.approved import assert_approved

URL = "amqp://guest:verysecret@broker/"
REQUIRED = {"TASKQUEUE_QUEUES": "thumbnails", "RABBITMQ_URL": URL}


def test_two_variables_are_enough_outside_kubernetes() -> None:
    settings = Settings.from_environment(REQUIRED)
    assert settings.consume == ConsumeSettings(BrokerUri(URL), ("thumbnails",), 1, 1, 870, attempts_of_broker=0)
    assert (settings.modules, settings.http_port) == (("tasks",), 8080)


def test_failed_tasks_are_retried_only_with_an_initial_delay() -> None:
    """Without an operator, no exchange may return them."""
    assert Settings.from_environment(REQUIRED | {"TASKQUEUE_MAX_ATTEMPTS": "9"}).retry_policy is None
    variables = REQUIRED | {"TASKQUEUE_MAX_ATTEMPTS": "9", "TASKQUEUE_RETRY_INITIAL_SECONDS": "2"}
    assert Settings.from_environment(variables).retry_policy == RetryPolicy(9, 2, 3600)
    longest = variables | {"TASKQUEUE_RETRY_MAX_SECONDS": "32769"}
    with pytest.raises(SettingsError, match="TASKQUEUE_RETRY_MAX_SECONDS is '32769'"):
        Settings.from_environment(longest)


def test_with_linear_the_broker_counts_the_attempts() -> None:
    linear = REQUIRED | {"TASKQUEUE_RETRY_TYPE": "Linear", "TASKQUEUE_MAX_ATTEMPTS": "3"}
    settings = Settings.from_environment(linear)
    assert settings.retry_policy == RetryPolicy(3, 0, 3600, by_broker=True)
    assert settings.consume.attempts_of_broker == 3
    assert (
        Settings.from_environment(REQUIRED | {"TASKQUEUE_RETRY_INITIAL_SECONDS": "2"}).consume.attempts_of_broker == 0
    )
    with pytest.raises(SettingsError, match=r"TASKQUEUE_RETRY_TYPE is 'linear'\. Set Exponential or Linear"):
        Settings.from_environment(REQUIRED | {"TASKQUEUE_RETRY_TYPE": "linear"})


def test_children_have_no_limits_unless_they_are_set() -> None:
    assert Settings.from_environment(REQUIRED).child_limits == ChildLimits()
    limits = {"TASKQUEUE_CHILD_MAX_TASKS": "100", "TASKQUEUE_CHILD_MEMORY_MIB": "512"}
    assert Settings.from_environment(REQUIRED | limits).child_limits == ChildLimits(100, 512 * 1024**2)
    with pytest.raises(SettingsError, match=r"TASKQUEUE_CHILD_MEMORY_MIB is '1\.5'"):
        Settings.from_environment(REQUIRED | {"TASKQUEUE_CHILD_MEMORY_MIB": "1.5"})


def test_the_log_level_is_one_of_four() -> None:
    levels = {text: Settings.from_environment(REQUIRED | {"TASKQUEUE_LOG_LEVEL": text}).log_level for text in LEVELS}
    assert levels == {"debug": 10, "info": 20, "warning": 30, "error": 40}
    assert Settings.from_environment(REQUIRED).log_level == levels["info"]
    assert Settings.from_environment(REQUIRED | {"TASKQUEUE_LOG_LEVEL": "WARNING"}).log_level == levels["warning"]
    with pytest.raises(SettingsError, match=r"TASKQUEUE_LOG_LEVEL is 'verbose'\. Set one of debug, info"):
        Settings.from_environment(REQUIRED | {"TASKQUEUE_LOG_LEVEL": "verbose"})


def test_prefetch_defaults_to_the_concurrency() -> None:
    assert Settings.from_environment(REQUIRED | {"TASKQUEUE_CONCURRENCY": "4"}).consume.prefetch == 4
    both = REQUIRED | {"TASKQUEUE_CONCURRENCY": "4", "TASKQUEUE_PREFETCH": "9"}
    assert Settings.from_environment(both).consume.prefetch == 9


def test_lists_are_separated_by_commas_and_duplicates_dropped() -> None:
    settings = Settings.from_environment(REQUIRED | {"TASKQUEUE_QUEUES": " a, b,a,", "TASKQUEUE_MODULES": "x.y,z"})
    assert (settings.consume.queues, settings.modules) == (("a", "b"), ("x.y", "z"))


@pytest.mark.parametrize(
    ("queues", "concurrency", "prefetch", "seconds"),
    [("a", 1, 1, 1800), ("a", 4, 4, 1800), ("a", 4, 5, 2670), ("a", 1, 8, 7890), ("a,b", 4, 4, 2670)],
)
def test_the_consumer_timeout_covers_all_earlier_messages_running_to_their_timeout(
    queues: str, concurrency: int, prefetch: int, seconds: int
) -> None:
    settings = dataclasses.replace(
        Settings.from_environment(REQUIRED).consume,
        queues=tuple(queues.split(",")),
        concurrency=concurrency,
        prefetch=prefetch,
    )
    assert settings.consumer_timeout_ms == seconds * 1000


def test_a_binding_overrides_the_uri(tmp_path: Path) -> None:
    variables = REQUIRED | {"SERVICE_BINDING_ROOT": str(tmp_path), "TASKQUEUE_VHOST": "media"}
    assert Settings.from_environment(variables).consume.broker == BrokerUri(URL, "media")
    (tmp_path / "broker").mkdir()
    assert Settings.from_environment(variables).consume.broker == BindingDirectory(tmp_path / "broker", "media")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "variables"),
    [
        ("worker.settings.contract", {"TASKQUEUE_CONTRACT": "2"}),
        ("worker.settings.no_queues", {"TASKQUEUE_QUEUES": " , "}),
        ("worker.settings.concurrency", {"TASKQUEUE_CONCURRENCY": "0"}),
        ("worker.settings.prefetch", {"TASKQUEUE_CONCURRENCY": "3", "TASKQUEUE_PREFETCH": "70000"}),
        ("worker.settings.task_timeout", {"TASKQUEUE_TASK_TIMEOUT_SECONDS": "1.5"}),
        ("worker.settings.max_attempts", {"TASKQUEUE_MAX_ATTEMPTS": "0"}),
        ("worker.settings.http_port", {"TASKQUEUE_HTTP_PORT": "http"}),
        ("worker.settings.no_broker", {"RABBITMQ_URL": ""}),
        ("worker.settings.no_binding", {"RABBITMQ_URL": "", "SERVICE_BINDING_ROOT": "/nowhere"}),
    ],
)
def test_a_setting_that_is_not_valid_is_named_with_the_way_out(key: str, variables: dict[str, str]) -> None:
    with pytest.raises((SettingsError, BrokerError)) as error:
        Settings.from_environment(REQUIRED | variables)
    assert any(name in str(error.value) for name in variables)
    assert_approved(key, str(error.value))


def test_the_pod_uid_is_empty_outside_kubernetes() -> None:
    assert Settings.from_environment(REQUIRED).pod == ""
    assert Settings.from_environment(REQUIRED | {"TASKQUEUE_POD_UID": "8c0c1a52"}).pod == "8c0c1a52"


def test_no_repr_shows_the_password() -> None:
    settings = Settings.from_environment(REQUIRED)
    assert "verysecret" not in f"{settings} {settings.consume.broker.read()}"
