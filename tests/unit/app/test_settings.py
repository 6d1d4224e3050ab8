"""The operator's own settings: what is understood, and what is said of what is not."""

import pytest

from taskqueue_operator.app.settings import Settings
from taskqueue_operator.resource.names import Key


def test_all_settings_are_optional() -> None:
    assert Settings.read({}) == Settings("default", (), 8080, "info", Key("default", "taskqueue-operator"), "")


def test_every_setting_can_be_set() -> None:
    assert Settings.read(
        {
            "TASKQUEUE_INSTALLATION": "blue",
            "TASKQUEUE_NAMESPACES": "media, shop,",
            "TASKQUEUE_HTTP_PORT": "9090",
            "TASKQUEUE_LOG_LEVEL": "debug",
            "TASKQUEUE_LEASE": "system/scaler",
            "TASKQUEUE_IDENTITY": "pod-1",
        }
    ) == Settings("blue", ("media", "shop"), 9090, "debug", Key("system", "scaler"), "pod-1")


def test_empty_values_mean_the_defaults() -> None:
    variables = ("INSTALLATION", "NAMESPACES", "LEASE", "IDENTITY")
    assert Settings.read({f"TASKQUEUE_{variable}": "" for variable in variables}) == Settings()


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("TASKQUEUE_HTTP_PORT", "http", "'http' is not a port. Set a number up to 65535."),
        ("TASKQUEUE_HTTP_PORT", "65536", "'65536' is not a port. Set a number up to 65535."),
        ("TASKQUEUE_HTTP_PORT", "-1", "'-1' is not a port. Set a number up to 65535."),
        ("TASKQUEUE_HTTP_PORT", "", "'' is not a port. Set a number up to 65535."),
        ("TASKQUEUE_LOG_LEVEL", "loud", "'loud' is not a level. Set one of debug, info, warning, error."),
        ("TASKQUEUE_LEASE", "scaler", "'scaler' names no Lease. Set it to NAMESPACE/NAME."),
        ("TASKQUEUE_LEASE", "system/", "'system/' names no Lease. Set it to NAMESPACE/NAME."),
        ("TASKQUEUE_LEASE", "a/b/c", "'a/b/c' names no Lease. Set it to NAMESPACE/NAME."),
        ("TASKQUEUE_LOG_LEVEL", "", "'' is not a level. Set one of debug, info, warning, error."),
    ],
)
def test_the_error_of_an_invalid_setting_names_the_variable_and_the_way_out(
    variable: str, value: str, message: str
) -> None:
    with pytest.raises(ValueError, match=rf"^{variable}: ") as caught:
        Settings.read({variable: value})
    assert str(caught.value) == f"{variable}: {message}"
