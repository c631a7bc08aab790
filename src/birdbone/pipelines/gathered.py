"""What nodes take together, as one argument: Kedro hands over datasets one by one."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any, get_type_hints


class Together:
    """Base of frozen dataclasses whose fields are datasets or parameters, each an input of the
    node.
    """


def gathered(function: Callable) -> Callable:
    """The function as Kedro calls it: an argument of a ``Together`` class is taken apart into its
    fields.

    What the node depends on stays to be seen one by one: in the pipeline, the ledger and
    ``dvc.yaml``. Raises TypeError where two arguments would have one name.
    """
    hints = get_type_hints(function)
    groups: dict[str, tuple[type, list[str]]] = {}
    flat: dict[str, Any] = {}
    for argument in inspect.signature(function).parameters:
        kind = hints[argument]
        together = isinstance(kind, type) and issubclass(kind, Together)
        own = get_type_hints(kind) if together else {argument: kind}
        if repeated := own.keys() & flat.keys():
            raise TypeError(f"{function.__qualname__} takes {', '.join(repeated)} twice")
        if together:
            groups[argument] = kind, [field.name for field in fields(kind)]
        flat |= own

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
