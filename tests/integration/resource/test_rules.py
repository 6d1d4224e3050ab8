"""Every CEL rule accepts a valid spec and rejects an invalid one, with the approved message."""

import json
from typing import Any

import pytest

from taskqueue_operator.resource import crd
from tests.approved import assert_approved, read_approved
from tests.cluster.control_plane import ControlPlane
from tests.unit.resource.spec_examples import MINIMAL

from .change_examples import CHANGES, IMMUTABLE, Change
from .conftest import Write
from .rule_examples import EXTERNAL, EXTERNALS, REFERENCE, RULES, Rule


def rule_messages(schema: dict[str, Any]) -> set[str]:
    inner = [*schema.get("properties", {}).values()]
    inner += [schema[name] for name in ("items", "additionalProperties") if name in schema]
    own = {validation["message"] for validation in schema.get("x-kubernetes-validations", ())}
    return own.union(*map(rule_messages, inner))


MESSAGES = rule_messages(crd.document()["spec"]["versions"][0]["schema"]["openAPIV3Schema"])


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_the_rule_accepts_a_valid_spec(write: Write, rule: Rule) -> None:
    write(rule.accepted, name=rule.name)


@pytest.mark.parametrize(("key", "rule"), RULES.items(), ids=RULES.keys())
def test_the_rule_rejects_an_invalid_spec_and_names_the_field(write: Write, key: str, rule: Rule) -> None:
    with pytest.raises(RuntimeError) as caught:
        write(rule.rejected, name=rule.rejected_name)
    error = str(caught.value)
    assert f'TaskQueue.taskqueue.dev "{rule.rejected_name}" is invalid: {rule.field}' in error
    assert error.count("Invalid value") == 1
    assert_approved(key, message_at_the_end_of(error))


def message_at_the_end_of(error: str) -> str:
    """Return the message of the CEL rule that rejected an object."""
    (message,) = (message for message in MESSAGES if error.endswith(message))
    return message


@pytest.mark.parametrize(("title", "change"), CHANGES.items(), ids=CHANGES.keys())
def test_names_are_immutable_once_the_queue_exists(
    api: ControlPlane, write: Write, namespace: str, title: str, change: Change
) -> None:
    path, _ = title.split()
    name = title.lower().replace(" ", "-")
    before, same, after = (
        MINIMAL | json.loads(json.dumps(spec).replace("{name}", name))
        for spec in (change.before, change.same, change.after)
    )
    write(before, name=name, dry=False)
    write(after, name=name, verb="replace")
    api.kubectl(
        "patch",
        "-n",
        namespace,
        "tq",
        name,
        "--subresource=status",
        "--type=merge",
        "-p",
        '{"status":{"queue":"media"}}',
    )
    write(same, name=name, verb="replace")
    with pytest.raises(RuntimeError) as caught:
        write(after, name=name, verb="replace")
    assert_approved(IMMUTABLE[path], message_at_the_end_of(str(caught.value)))


def test_the_names_of_external_queues_can_change(api: ControlPlane, write: Write, namespace: str) -> None:
    """The operator leaves what it did not declare."""
    write(MINIMAL | {"queue": EXTERNAL}, name="external", dry=False)
    status = '{"status":{"queue":"celery"}}'
    api.kubectl("patch", "-n", namespace, "tq", "external", "--subresource=status", "--type=merge", "-p", status)
    write(MINIMAL | EXTERNALS, name="external", dry=False, verb="replace")
    write(MINIMAL | {"externalQueues": ["videos", "mails"]}, name="external", verb="replace")
    with pytest.raises(RuntimeError) as caught:
        write(MINIMAL | {"queue": {"name": "celery"}}, name="external", verb="replace")
    assert_approved("crd.immutable_queue_name", message_at_the_end_of(str(caught.value)))


def test_image_and_deployment_ref_never_replace_each_other(write: Write) -> None:
    """Nothing would delete the Deployment of the operator, whose workers would go on."""
    write(MINIMAL, name="owned", dry=False)
    with pytest.raises(RuntimeError) as caught:
        write(MINIMAL | {"worker": REFERENCE}, name="owned", verb="replace")
    assert_approved("crd.immutable_deployment_ref", message_at_the_end_of(str(caught.value)))
    write(MINIMAL | {"worker": REFERENCE}, name="referenced", dry=False)
    write(MINIMAL | {"worker": {"deploymentRef": {"name": "other"}}}, name="referenced", verb="replace")


def test_every_rule_has_examples() -> None:
    approved = read_approved()
    assert {approved[key] for key in (*RULES, *IMMUTABLE.values(), "crd.immutable_deployment_ref")} == MESSAGES
