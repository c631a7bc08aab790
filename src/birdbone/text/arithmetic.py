"""Arithmetic worksheets, written by rule: the same on every machine, and every answer right.

A worksheet is one document with problems of one kind, so that a split by document separates the
numbers of a kind. The kinds take turns: sums, differences, products, quotients, chains, sequences,
comparisons, word problems.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

SHEETS = 96
PROBLEMS = 24
"""Per worksheet."""
NAMES = (
    "Anna",
    "Ben",
    "Carla",
    "David",
    "Emma",
    "Farid",
    "Grace",
    "Hugo",
    "Iris",
    "Jonas",
    "Kim",
    "Leo",
)
THINGS = ("apples", "books", "coins", "eggs", "marbles", "pencils", "stamps", "tickets")


def worksheets() -> Iterator[tuple[str, str]]:
    """(title, text) of ``SHEETS`` worksheets, one problem with its answer per line."""
    for number in range(SHEETS):
        kind = KINDS[number % len(KINDS)]
        draw = random.Random(f"birdbone worksheet {number}")
        lines = [kind(draw) for _ in range(PROBLEMS)]
        yield f"{kind.__name__.strip('_')} {number // len(KINDS) + 1}", "\n".join(lines) + "\n"


def _sums(draw: random.Random) -> str:
    a = draw.randint(1, 99)
    b = draw.randint(1, 99)
    return f"{a} + {b} = {a + b}"


def _differences(draw: random.Random) -> str:
    a = draw.randint(1, 99)
    b = draw.randint(1, 99)
    return f"{a + b} - {a} = {b}"


def _products(draw: random.Random) -> str:
    a = draw.randint(2, 12)
    b = draw.randint(2, 12)
    return f"{a} * {b} = {a * b}"


def _quotients(draw: random.Random) -> str:
    a = draw.randint(2, 12)
    b = draw.randint(2, 12)
    return f"{a * b} / {a} = {b}"


def _chains(draw: random.Random) -> str:
    a = draw.randint(1, 20)
    b = draw.randint(1, 20)
    c = draw.randint(2, 9)
    return draw.choice((f"({a} + {b}) * {c} = {(a + b) * c}", f"{a} + {b} * {c} = {a + b * c}"))


def _sequences(draw: random.Random) -> str:
    start = draw.randint(1, 30)
    step = draw.randint(1, 12)
    return ", ".join(str(start + i * step) for i in range(6))


def _comparisons(draw: random.Random) -> str:
    a, b = draw.sample(range(1, 200), 2)
    return f"{a} is {'greater' if a > b else 'less'} than {b}, and the difference is {abs(a - b)}."


def _word_problems(draw: random.Random) -> str:
    name, other = draw.sample(NAMES, 2)
    thing = draw.choice(THINGS)
    a = draw.randint(2, 60)
    b = draw.randint(2, 20)
    return draw.choice(
        (
            f"{name} has {a} {thing} and buys {b} more. "
            f"Now {name} has {a} + {b} = {a + b} {thing}.",
            f"{name} has {a + b} {thing} and gives {b} to {other}. "
            f"{name} keeps {a + b} - {b} = {a} {thing}.",
            f"{name} fills {b} boxes with {a} {thing} each. "
            f"That makes {b} * {a} = {a * b} {thing}.",
            f"{name} and {other} share {2 * a} {thing} equally. "
            f"Each gets {2 * a} / 2 = {a} {thing}.",
        )
    )


KINDS = (
    _sums,
    _differences,
    _products,
    _quotients,
    _chains,
    _sequences,
    _comparisons,
    _word_problems,
)
