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

    What a function takes as ``*rest`` stays so. The pipeline, the ledger and ``dvc.yaml`` still
    list each input by itself. Raises TypeError where two arguments would have one name.
    """
    hints = get_type_hints(function)
    groups: dict[str, tuple[type, list[str]]] = {}
    flat: dict[str, Any] = {}
    rest = ""
    for argument, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            rest = argument
            continue
        kind = hints[argument]
        together = isinstance(kind, type) and issubclass(kind, Together)
        inputs = get_type_hints(kind) if together else {argument: kind}
        if repeated := inputs.keys() & flat.keys():
            raise TypeError(f"{function.__qualname__} takes {', '.join(repeated)} twice")
        if together:
            groups[argument] = kind, [field.name for field in fields(kind)]
        flat |= inputs

    taken = [name for name in inspect.signature(function).parameters if name != rest]

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        values = call.__signature__.bind(*args, **kwargs).arguments
        more = values.pop(rest, ())
        for argument, (kind, names) in groups.items():
            values[argument] = kind(**{name: values.pop(name) for name in names})
        return function(*(values[name] for name in taken), *more)

    one = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, one) for name in flat]
    if rest:
        parameters.append(inspect.Parameter(rest, inspect.Parameter.VAR_POSITIONAL))
    call.__signature__ = inspect.Signature(parameters)
    call.__annotations__ = flat | {"return": hints.get("return", Any)}
    return call
