"""What all settings share: no unknown keys, no number by accident, names that stand in a
registry.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]


class Strict(BaseModel):
    """No unknown keys, every number finite, no truth value taken for a number, no text empty."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, str_min_length=1)

    @field_validator("*", mode="wrap")
    @classmethod
    def _no_truth_for_a_number(cls, raw: Any, check: Callable[[Any], Any]) -> Any:
        checked = check(raw)
        if _counted(raw, checked):
            raise ValueError("should be a number, not true or false")
        return checked

    def names(self) -> Iterator[tuple[str, str, Collection[str]]]:
        """(key, name, registry) of each setting whose value must be a name in a registry.

        Registries import torch. They are imported in here, and asked once all types are right.
        """
        yield from ()


def _counted(raw: Any, checked: Any) -> bool:
    """Whether a truth value, or one inside a list or group, became a number."""
    if isinstance(raw, dict) and isinstance(checked, dict):
        return any(_counted(raw[key], checked.get(key)) for key in raw)
    if isinstance(raw, list) and isinstance(checked, (list, tuple)):
        return any(map(_counted, raw, checked))
    number = isinstance(checked, (int, float)) and not isinstance(checked, bool)
    return isinstance(raw, bool) and number
