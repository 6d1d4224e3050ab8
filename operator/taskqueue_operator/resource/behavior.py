"""The rate of scaling: field names, forms and semantics of `behavior` in autoscaling/v2, so that YAML can be pasted."""

import re
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, WithJsonSchema

from .fields import Model

QUANTITY_PATTERN: Final = r"^([0-9]{1,3}(\.[0-9]{1,9})?|\.[0-9]{1,9}|[0-9]{1,6}m)$"
"""The part of the Kubernetes quantity format that a tolerance needs: 0.05, .05 or 50m."""


def _parse_quantity(value: object) -> Decimal:
    """Return a quantity from YAML, a number or a string, as an exact decimal: binary floats cannot represent 0.1."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("must be a quantity such as 0.05 or 50m")  # noqa: TRY004  pydantic expects a ValueError
    text = str(value)
    if isinstance(value, str) and not re.fullmatch(QUANTITY_PATTERN, text):
        raise ValueError("must be a quantity such as 0.05 or 50m")
    return Decimal(text[:-1]) / 1000 if text.endswith("m") else Decimal(text)


# A structural schema cannot express "number or string". Without a type, each bound applies only to values of its own
# type: numbers and strings are checked, and bounds that no object, list or boolean can meet reject those.
_NUMBER_OR_STRING: dict[str, Any] = {
    "x-kubernetes-preserve-unknown-fields": True,
    "minimum": 0,
    "maximum": 1000,
    "pattern": QUANTITY_PATTERN,
    "minProperties": 1,
    "maxProperties": 0,
    "minItems": 1,
    "maxItems": 0,
    "not": {"enum": [True, False]},
}
Tolerance = Annotated[
    Decimal, BeforeValidator(_parse_quantity), Field(ge=0, le=1000), WithJsonSchema(_NUMBER_OR_STRING)
]


class PolicyType(StrEnum):
    """Unit of a rate policy."""

    PODS = "Pods"
    PERCENT = "Percent"


class SelectPolicy(StrEnum):
    """Selects one of several rate policies."""

    MAX = "Max"
    MIN = "Min"
    DISABLED = "Disabled"


class RatePolicy(Model):
    """Limit on the number of workers that are added or removed within a period."""

    type: PolicyType = Field(
        description="Pods: a number of workers. Percent: a percentage of the workers at the start of the period."
    )
    value: int = Field(
        ge=1, le=1_000_000, description="Largest change within the period: a number of workers or a percentage."
    )
    period_seconds: int = Field(ge=1, le=1800, description="Length of the period.")


Policies = Annotated[list[RatePolicy], Field(min_length=1, max_length=16)]
Window = Annotated[int, Field(ge=0, le=3600)]


class Rules(Model):
    """Fields that both directions have in common."""

    select_policy: SelectPolicy = Field(
        SelectPolicy.MAX,
        description="Max: apply the policy that allows the largest change. Min: apply the policy that allows the "
        "smallest change. Disabled: never scale in this direction.",
    )
    policies: Policies | None = Field(
        None,
        description="Limits on the rate of scaling. By default there is no limit.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    tolerance: Tolerance | None = Field(
        None,
        description="The number of workers does not change while the backlog differs by no more than this fraction "
        "from readyPerReplica times the number of workers. Example: 0.1 for 10 percent. Defaults to 0.",
    )


class ScaleUp(Rules):
    """Rules for scaling out."""

    stabilization_window_seconds: Window = Field(
        0,
        description="Scale out only to the lowest number of workers that was recommended within this time. Does not "
        "apply when scaling from zero.",
    )


class ScaleDown(Rules):
    """Rules for scaling in."""

    stabilization_window_seconds: Window = Field(
        60,
        description="Scale in only to the highest number of workers that was recommended within this time.",
    )


class Behavior(Model):
    """Rate of scaling, with the field names and semantics of autoscaling/v2."""

    scale_up: ScaleUp = Field(ScaleUp(), description="Rules for scaling out.")
    scale_down: ScaleDown = Field(ScaleDown(), description="Rules for scaling in.")
