"""Several inputs of a node as one argument; Kedro passes datasets one by one."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any, get_type_hints


class Together:
    """Base of frozen dataclasses whose fields are datasets or parameters, each a node's input."""


def gathered(function: Callable) -> Callable:
    """The function as Kedro calls it: a ``Together`` argument becomes one argument for each field.

    The pipeline, the ledger and ``dvc.yaml`` still list each input by itself. Raises TypeError
    where two arguments would have one name.
    """
    hints = get_type_hints(function)
    groups: dict[str, tuple[type, list[str]]] = {}
    flat: dict[str, Any] = {}
    for argument in inspect.signature(function).parameters:
        kind = hints[argument]
        together = isinstance(kind, type) and issubclass(kind, Together)
        inputs = get_type_hints(kind) if together else {argument: kind}
        if repeated := inputs.keys() & flat.keys():
            raise TypeError(f"{function.__qualname__} takes {', '.join(repeated)} twice")
        if together:
            groups[argument] = kind, [field.name for field in fields(kind)]
        flat |= inputs

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        values = call.__signature__.bind(*args, **kwargs).arguments
        for argument, (kind, names) in groups.items():
            values[argument] = kind(**{name: values.pop(name) for name in names})
        return function(**values)

    call.__signature__ = inspect.Signature(
        [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in flat]
    )
    call.__annotations__ = flat | {"return": hints.get("return", Any)}
    return call
