"""The base class of all models, and the field types they share."""

import json
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

BROKER_NAME: Final = r"^[!-+\--~]([ -+\--~]*[!-+\--~])?$"
"""Printable ASCII without leading or trailing blanks; no comma, the separator of queues in the worker contract."""


class Model(BaseModel):
    """Immutable model with camelCase aliases; ignores unknown fields, so that an older operator accepts a newer CRD."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")


def rule(expression: str, message: str, *, path: str | None = None, value: str | None = None) -> dict[str, str]:
    """Return one CEL rule of the CRD.

    Args:
        expression: CEL expression that must be true.
        message: Message for the user when it is false: what is wrong, and how to fix it.
        path: The field at fault, relative to the node that carries the rule.
        value: CEL expression of the value at fault, with which the message then begins.
    """
    shown = {"messageExpression": f"'\"' + {value} + '\" ' + {json.dumps(message)}"} if value else {}
    return {"rule": expression, "message": message} | shown | ({"fieldPath": path} if path else {})


def rules(*validations: dict[str, str]) -> dict[str, Any]:
    """Return the JSON schema extension that holds CEL rules."""
    return {"x-kubernetes-validations": list(validations)}


KubernetesName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
BrokerName = Annotated[str, Field(min_length=1, max_length=200, pattern=BROKER_NAME)]
Opaque = Annotated[dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})]
"""A part of the Kubernetes API that is passed through unchanged; the API server validates it by a dry run."""


class SecretRef(Model):
    """Reference to a Secret in the namespace of the TaskQueue."""

    name: KubernetesName = Field(description="Name of the Secret, in the namespace of the TaskQueue.")
