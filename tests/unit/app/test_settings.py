"""Settings of the operator, and the errors of invalid ones."""

import pytest

from taskqueue_operator.app.settings import Settings
from taskqueue_operator.resource.names import Key
from taskqueue_operator.workers.pod_security import PodLimits, PodSecurity
from tests.approved import assert_approved


def test_all_settings_are_optional() -> None:
    assert Settings.read({}) == Settings(
        "default", (), 8080, "info", Key("default", "taskqueue-operator"), "", PodLimits()
    )


def test_every_setting_can_be_set() -> None:
    assert Settings.read(
        {
            "TASKQUEUE_INSTALLATION": "blue",
            "TASKQUEUE_NAMESPACES": "media, shop,",
            "TASKQUEUE_HTTP_PORT": "9090",
            "TASKQUEUE_LOG_LEVEL": "debug",
            "TASKQUEUE_LEASE": "system/scaler",
            "TASKQUEUE_IDENTITY": "pod-1",
            "TASKQUEUE_POD_SECURITY": "privileged",
            "TASKQUEUE_BROKER_HOSTS": "*.example.com,10.0.0.0/8",
            "TASKQUEUE_SERVICE_ACCOUNTS": "thumbnails, mail",
        }
    ) == Settings(
        installation="blue",
        namespaces=("media", "shop"),
        http_port=9090,
        log_level="debug",
        lease=Key("system", "scaler"),
        identity="pod-1",
        pod_limits=PodLimits(PodSecurity.PRIVILEGED, frozenset({"thumbnails", "mail"})),
        broker_hosts=("*.example.com", "10.0.0.0/8"),
    )


def test_empty_values_mean_the_defaults() -> None:
    variables = ("INSTALLATION", "NAMESPACES", "LEASE", "IDENTITY", "POD_SECURITY", "SERVICE_ACCOUNTS", "BROKER_HOSTS")
    assert Settings.read({f"TASKQUEUE_{variable}": "" for variable in variables}) == Settings()


@pytest.mark.parametrize(
    ("variable", "value", "key"),
    [
        ("TASKQUEUE_HTTP_PORT", "http", "operator.settings.http_port"),
        ("TASKQUEUE_HTTP_PORT", "65536", "operator.settings.http_port"),
        ("TASKQUEUE_HTTP_PORT", "-1", "operator.settings.http_port"),
        ("TASKQUEUE_HTTP_PORT", "", "operator.settings.http_port"),
        ("TASKQUEUE_LOG_LEVEL", "loud", "operator.settings.log_level"),
        ("TASKQUEUE_LEASE", "scaler", "operator.settings.lease"),
        ("TASKQUEUE_LEASE", "system/", "operator.settings.lease"),
        ("TASKQUEUE_LEASE", "a/b/c", "operator.settings.lease"),
        ("TASKQUEUE_LOG_LEVEL", "", "operator.settings.log_level"),
        ("TASKQUEUE_POD_SECURITY", "restricted", "operator.settings.pod_security"),
        ("TASKQUEUE_BROKER_HOSTS", "broker:5672", "operator.settings.broker_hosts"),
    ],
)
def test_the_error_of_an_invalid_setting_names_the_variable_and_the_way_out(
    variable: str, value: str, key: str
) -> None:
    with pytest.raises(ValueError, match=rf"^{variable}: ") as caught:
        Settings.read({variable: value})
    assert_approved(key, str(caught.value).replace(f"{value!r}", "VALUE"))
