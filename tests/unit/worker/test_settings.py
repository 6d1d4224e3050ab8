"""What the environment may say, and what is answered to what it may not."""

import dataclasses
from pathlib import Path

import pytest

from taskqueue_worker.broker import BindingDirectory, BrokerUri
from taskqueue_worker.settings import Settings, SettingsError

URL = "amqp://guest:verysecret@broker/"
LEAST = {"TASKQUEUE_QUEUES": "thumbnails", "RABBITMQ_URL": URL}


def test_a_laptop_needs_two_variables() -> None:
    settings = Settings.from_environment(LEAST)
    assert settings.queues == ("thumbnails",)
    assert settings.broker == BrokerUri(URL)
    assert (settings.concurrency, settings.prefetch, settings.task_timeout_seconds) == (1, 1, 870)
    assert (settings.modules, settings.http_port) == (("tasks",), 8080)


def test_prefetch_follows_concurrency_unless_it_is_given() -> None:
    assert Settings.from_environment(LEAST | {"TASKQUEUE_CONCURRENCY": "4"}).prefetch == 4
    both = LEAST | {"TASKQUEUE_CONCURRENCY": "4", "TASKQUEUE_PREFETCH": "9"}
    assert Settings.from_environment(both).prefetch == 9


def test_lists_are_separated_by_commas_and_named_once() -> None:
    settings = Settings.from_environment(LEAST | {"TASKQUEUE_QUEUES": " a, b,a,", "TASKQUEUE_MODULES": "x.y,z"})
    assert (settings.queues, settings.modules) == (("a", "b"), ("x.y", "z"))


@pytest.mark.parametrize(
    ("queues", "concurrency", "prefetch", "seconds"),
    [("a", 1, 1, 1800), ("a", 4, 4, 1800), ("a", 4, 5, 2670), ("a", 1, 8, 7890), ("a,b", 4, 4, 2670)],
)
def test_the_broker_waits_until_all_that_came_before_may_have_run_to_its_timeout(
    queues: str, concurrency: int, prefetch: int, seconds: int
) -> None:
    settings = dataclasses.replace(
        Settings.from_environment(LEAST),
        queues=tuple(queues.split(",")),
        concurrency=concurrency,
        prefetch=prefetch,
    )
    assert settings.consumer_timeout_ms == seconds * 1000


def test_the_binding_is_read_when_it_is_there(tmp_path: Path) -> None:
    variables = LEAST | {"SERVICE_BINDING_ROOT": str(tmp_path), "TASKQUEUE_VHOST": "media"}
    assert Settings.from_environment(variables).broker == BrokerUri(URL, "media")
    (tmp_path / "broker").mkdir()
    assert Settings.from_environment(variables).broker == BindingDirectory(tmp_path / "broker", "media")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"TASKQUEUE_CONTRACT": "2"},
            (
                "TASKQUEUE_CONTRACT is '2', this worker speaks contract 1. "
                "Build the image from a taskqueue_worker that speaks contract 2."
            ),
        ),
        (
            {"TASKQUEUE_QUEUES": " , "},
            "TASKQUEUE_QUEUES is not set. Name the queues to consume, e.g. TASKQUEUE_QUEUES=thumbnails.",
        ),
        (
            {"TASKQUEUE_CONCURRENCY": "0"},
            "TASKQUEUE_CONCURRENCY is '0': set a whole number from 1 to 1000, or leave it out for 1.",
        ),
        (
            {"TASKQUEUE_CONCURRENCY": "3", "TASKQUEUE_PREFETCH": "70000"},
            "TASKQUEUE_PREFETCH is '70000': set a whole number from 1 to 65535, or leave it out for 3.",
        ),
        (
            {"TASKQUEUE_TASK_TIMEOUT_SECONDS": "1.5"},
            "TASKQUEUE_TASK_TIMEOUT_SECONDS is '1.5': set a whole number from 1 to 604800, or leave it out for 870.",
        ),
        (
            {"TASKQUEUE_HTTP_PORT": "http"},
            "TASKQUEUE_HTTP_PORT is 'http': set a whole number from 0 to 65535, or leave it out for 8080.",
        ),
        (
            {"RABBITMQ_URL": ""},
            (
                "No broker to connect to: SERVICE_BINDING_ROOT is not set, and RABBITMQ_URL is not set. "
                "Mount the broker's Secret at $SERVICE_BINDING_ROOT/broker, or set RABBITMQ_URL=amqp://USER:PASSWORD@HOST/VHOST."
            ),
        ),
        (
            {"RABBITMQ_URL": "", "SERVICE_BINDING_ROOT": "/nowhere"},
            (
                "No broker to connect to: /nowhere/broker (SERVICE_BINDING_ROOT) is no directory, and "
                "RABBITMQ_URL is not set. Mount the broker's Secret at $SERVICE_BINDING_ROOT/broker, or set "
                "RABBITMQ_URL=amqp://USER:PASSWORD@HOST/VHOST."
            ),
        ),
    ],
)
def test_a_wrong_setting_is_named_with_its_way_out(variables: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        Settings.from_environment(LEAST | variables)
    assert str(refusal.value) == message


def test_the_pod_is_known_in_kubernetes_only() -> None:
    assert Settings.from_environment(LEAST).pod == ""
    assert Settings.from_environment(LEAST | {"TASKQUEUE_POD_UID": "8c0c1a52"}).pod == "8c0c1a52"


def test_no_repr_shows_the_password() -> None:
    settings = Settings.from_environment(LEAST)
    assert "verysecret" not in f"{settings} {settings.broker.read()}"
