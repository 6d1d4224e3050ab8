"""The base of all models and the field types they share."""

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

BROKER_NAME: Final = r"^[!-+\--~]([ -+\--~]*[!-+\--~])?$"
"""Printable ASCII, no blanks at its ends, without the comma, which separates queues in the worker contract."""


class Model(BaseModel):
    """Immutable, camelCase outside; fields of a newer CRD are ignored, so that an older operator survives it."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")


def rule(expression: str, message: str, *, path: str | None = None) -> dict[str, str]:
    """Write one CEL rule of the CRD.

    Args:
        expression: CEL that must hold.
        message: What the user reads when it does not.
        path: The field at fault, relative to where the rule stands.
    """
    return {"rule": expression, "message": message} | ({"fieldPath": path} if path else {})


def rules(*each: dict[str, str]) -> dict[str, Any]:
    """Attach CEL rules to a model's schema."""
    return {"x-kubernetes-validations": list(each)}


KubernetesName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
BrokerName = Annotated[str, Field(min_length=1, max_length=200, pattern=BROKER_NAME)]
Opaque = Annotated[dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})]
"""A piece of the Kubernetes API, passed through as it is and checked by the API server's dry run."""


class SecretRef(Model):
    """Names a Secret in the TaskQueue's own namespace."""

    name: KubernetesName = Field(description="Name of the Secret, in the namespace of the TaskQueue.")
