"""The difference of two trees of settings: typed, complete, in one order."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birdbone.git.config_diff import ABSENT, changes, config_text

TREES = st.recursive(
    st.dictionaries(
        st.text("abc", min_size=1, max_size=2),
        st.none() | st.booleans() | st.integers(-2, 2),
        max_size=4,
    ),
    lambda inner: st.dictionaries(
        st.text("abc", min_size=1, max_size=2), inner | st.integers(-2, 2), max_size=4
    ),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ({"quantize": {"trials": 3}}, {"quantize": {"trials": 4}}, "~ quantize.trials: 3 → 4\n"),
        ({}, {"a": {"b": "x", "c": []}}, '+ a.b: "x"\n+ a.c: []\n'),
        ({"a": {}}, {}, "- a: {}\n"),
        ({"a": 1}, {"a": 1.0}, "~ a: 1 (int) → 1.0 (float)\n"),
        ({"a": 1}, {"a": True}, "~ a: 1 (int) → true (bool)\n"),
        ({"a": None}, {"a": 3}, "~ a: null → 3 (int)\n"),
        ({"a": [1, 2]}, {"a": [1, 2.0]}, "~ a: [1, 2] → [1, 2.0]\n"),
        ({"a": {"b": 1}}, {"a": "b"}, '~ a: {"b": 1} (dict) → "b" (str)\n'),
        ({"é": "ü"}, {"é": "ö"}, '~ é: "ü" → "ö"\n'),
        ({"a": 1, "b": {"c": 2}}, {"b": {"c": 2}, "a": 1}, ""),
    ],
)
def test_each_kind_of_change_is_one_line(old: dict, new: dict, text: str) -> None:
    assert config_text(old, new) == text


def test_a_key_that_is_none_is_not_a_key_that_is_absent() -> None:
    (change,) = changes({}, {"a": None})
    assert (change.old, change.new, change.line) == (ABSENT, None, "+ a: null")
    assert change.record == {"key": "a", "change": "added", "new": None, "new_type": "null"}


@given(TREES, TREES)
def test_nothing_is_printed_for_equal_trees_and_something_for_any_others(
    old: dict, new: dict
) -> None:
    assert (config_text(old, new) == "") == (
        json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True)
    )


@given(TREES, TREES)
def test_the_way_back_shows_the_same_keys(old: dict, new: dict) -> None:
    there, back = changes(old, new), changes(new, old)
    assert [c for c in there if ABSENT not in (c.old, c.new)] == [
        type(c)(c.key, c.new, c.old) for c in back if ABSENT not in (c.old, c.new)
    ]
    assert {c.key for c in there if c.old is ABSENT} == {c.key for c in back if c.new is ABSENT}
