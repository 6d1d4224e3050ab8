"""The pace of scaling: names, forms and meaning of `behavior` in autoscaling/v2, so that YAML can be pasted."""

import re
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, WithJsonSchema

from .fields import Model

SHARE: Final = r"^([0-9]{1,3}(\.[0-9]{1,9})?|\.[0-9]{1,9}|[0-9]{1,6}m)$"
"""A quantity of Kubernetes, as far as a share needs one: 0.05, .05 or 50m."""


def _share(written: object) -> Decimal:
    """Read a quantity as YAML holds it, a number or a text; exactly, as 0.1 is not a tenth in binary."""
    if isinstance(written, bool) or not isinstance(written, int | float | str):
        raise ValueError("not a quantity such as 0.05 or 50m")  # noqa: TRY004  pydantic expects a ValueError
    text = str(written)
    if isinstance(written, str) and not re.fullmatch(SHARE, text):
        raise ValueError("not a quantity such as 0.05 or 50m")
    return Decimal(text[:-1]) / 1000 if text.endswith("m") else Decimal(text)


# The API server knows no union of number and text. Without a type, each bound counts for the values it fits, and what
# must be neither object, list nor truth value is kept out by bounds that none of these can meet.
_NUMBER_OR_TEXT: dict[str, Any] = {
    "x-kubernetes-preserve-unknown-fields": True,
    "minimum": 0,
    "maximum": 1000,
    "pattern": SHARE,
    "minProperties": 1,
    "maxProperties": 0,
    "minItems": 1,
    "maxItems": 0,
    "not": {"enum": [True, False]},
}
Share = Annotated[Decimal, BeforeValidator(_share), Field(ge=0, le=1000), WithJsonSchema(_NUMBER_OR_TEXT)]


class PolicyType(StrEnum):
    """In what a rate is counted."""

    PODS = "Pods"
    PERCENT = "Percent"


class SelectPolicy(StrEnum):
    """Which of several rates counts."""

    MAX = "Max"
    MIN = "Min"
    DISABLED = "Disabled"


class RatePolicy(Model):
    """So many workers within so much time."""

    type: PolicyType = Field(description="Pods: a number of workers. Percent: of those at the start of the period.")
    value: int = Field(ge=1, le=1_000_000, description="How many workers, or percent, may change within the period.")
    period_seconds: int = Field(ge=1, le=1800, description="The period in which the change is counted.")


Policies = Annotated[list[RatePolicy], Field(min_length=1, max_length=16)]
Window = Annotated[int, Field(ge=0, le=3600)]


class Rules(Model):
    """What both directions have in common."""

    select_policy: SelectPolicy = Field(
        SelectPolicy.MAX,
        description="Max: the policy that allows the largest change counts. Min: the smallest. Disabled: no change in "
        "this direction.",
    )
    policies: Policies | None = Field(
        None,
        description="How fast the number may change. Default: at once.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    tolerance: Share | None = Field(
        None,
        description="A demand that differs from the present number by no more than this share changes nothing, "
        "such as 0.1 for a tenth. Default: 0.",
    )


class ScaleUp(Rules):
    """How workers are added."""

    stabilization_window_seconds: Window = Field(
        0, description="Scale out to the lowest number wanted within this time. A wake from zero waits for no window."
    )


class ScaleDown(Rules):
    """How workers are removed."""

    stabilization_window_seconds: Window = Field(
        60, description="Scale in to the highest number wanted within this time."
    )


class Behavior(Model):
    """Pace of scaling, with the names and the meaning of autoscaling/v2."""

    scale_up: ScaleUp = Field(ScaleUp(), description="How workers are added.")
    scale_down: ScaleDown = Field(ScaleDown(), description="How workers are removed.")
