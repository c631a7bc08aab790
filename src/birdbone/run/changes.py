"""What changed between two trees of settings, value by value and type by type. Pure: no files, no
git.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

ABSENT = object()
"""The value of a key that a tree does not have; None is a value."""

TYPES = {type(None): "null", bool: "bool", int: "int", float: "float", str: "str", list: "list", dict: "dict"}


@dataclass(frozen=True)
class Change:
    """One key that was added, removed or changed: ``old`` or ``new`` is ``ABSENT`` in the first two
    cases.
    """

    key: str
    old: Any
    new: Any

    @property
    def line(self) -> str:
        """``+ key: value``, ``- key: value`` or ``~ key: old → new``, with the types where they
        differ.
        """
        if self.old is ABSENT:
            return f"+ {self.key}: {_text(self.new)}"
        if self.new is ABSENT:
            return f"- {self.key}: {_text(self.old)}"
        typed = type(self.old) is not type(self.new)
        return f"~ {self.key}: {_shown(self.old, typed)} → {_shown(self.new, typed)}"

    @property
    def record(self) -> dict:
        """The same for machines: ``{key, change: added|removed|changed, old?, new?, old_type?,
        new_type?}``.
        """
        kind = "added" if self.old is ABSENT else "removed" if self.new is ABSENT else "changed"
        sides = {name: value for name, value in (("old", self.old), ("new", self.new)) if value is not ABSENT}
        return {"key": self.key, "change": kind, **sides, **{f"{n}_type": _type(v) for n, v in sides.items()}}


def changes(old: dict, new: dict) -> list[Change]:
    """Every difference between two trees, in the order of their keys.

    Mappings are compared key by key, all else as a whole and with its type: 1, 1.0 and true are
    three values.
    """
    return list(_changes(old, new, ""))


def config_text(old: dict, new: dict) -> str:
    """The differences one a line, empty where there are none: what a bundle's ``config.diff``
    holds.
    """
    return "".join(f"{change.line}\n" for change in changes(old, new))


def _changes(old: dict, new: dict, prefix: str) -> Iterator[Change]:
    for key in sorted({*old, *new}, key=str):
        a, b = old.get(key, ABSENT), new.get(key, ABSENT)
        name = f"{prefix}{key}"
        if isinstance(a, dict) and isinstance(b, dict):
            yield from _changes(a, b, f"{name}.")
        elif a is ABSENT:
            yield from (Change(k, ABSENT, v) for k, v in _leaves(name, b))
        elif b is ABSENT:
            yield from (Change(k, v, ABSENT) for k, v in _leaves(name, a))
        elif _text(a) != _text(b):
            yield Change(name, a, b)


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A value's parts: those of a mapping by name, any other value (an empty mapping too) as it
    is.
    """
    if not isinstance(value, dict) or not value:
        yield name, value
        return
    for key in sorted(value, key=str):
        yield from _leaves(f"{name}.{key}", value[key])


def _shown(value: Any, typed: bool) -> str:
    return f"{_text(value)} ({_type(value)})" if typed and value is not None else _text(value)


def _text(value: Any) -> str:
    """JSON, whose text also tells the types apart."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def _type(value: Any) -> str:
    return TYPES.get(type(value), type(value).__name__)
