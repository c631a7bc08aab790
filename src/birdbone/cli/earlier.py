"""What earlier runs of the project took, and how much work that was by the cost model."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from birdbone.errors import BirdboneError
from birdbone.parameters import Parameters, validate
from birdbone.run.cost import Work
from birdbone.run.timings import Timing, read_timings

CROWDED = 0.5
"""Share of the machine that others may have had: beyond it, what the node would have taken alone is
a guess.
"""


@dataclass(frozen=True)
class Earlier:
    """A node's timing, the work it was by the cost model, and the model's operations a token."""

    timing: Timing
    work: Work
    flops: float


def earlier_runs(
    folders: list[Path], tree: dict, works: Callable[[Parameters], tuple[float, dict[str, Work]]]
) -> dict[str, list[Earlier]]:
    """Node name -> its timings in the state ``folders`` of all profiles.

    tree: the parameters now in force, over which those of a ledger are laid. works: from parameters
    to operations a token and the rows of the cost model. A run whose parameters are no longer valid
    or whose model is gone says nothing, and neither does a node that was resumed, or that ran on a
    crowded machine.
    """
    nodes: dict[str, list[Earlier]] = {}
    for folder in folders:
        timings = {name: timing for name, timing in read_timings(folder).items() if telling(timing)}
        if not timings:
            continue
        try:
            flops, rows = works(validate(laid_over(tree, recorded(folder))))
        except BirdboneError:
            continue
        for name in timings.keys() & rows.keys():
            nodes.setdefault(name, []).append(Earlier(timings[name], rows[name], flops))
    return nodes


def telling(timing: Timing) -> bool:
    """Whether a timing is of a whole node, on a machine that was its own for the most part."""
    return not timing.resumed and (timing.others or 0) <= CROWDED


def recorded(folder: Path) -> dict:
    """Parameter name (``params:text.window``) -> value, of all nodes' last records in one state
    folder.
    """
    values: dict = {}
    for record in sorted((folder / "ledger").glob("*.json")):
        try:
            values |= json.loads(record.read_text()).get("parameters", {})
        except ValueError:
            continue  # a torn record: its node runs again anyway
    return values


def laid_over(tree: dict, values: dict) -> dict:
    """``tree`` with the values of ``params:`` names put in their places; groups before what is in
    them.
    """
    result = deepcopy(tree)
    for name in sorted(values, key=lambda name: name.count(".")):
        *groups, key = name.removeprefix("params:").split(".")
        place = result
        for group in groups:
            place = place.setdefault(group, {})
        if name.startswith("params:"):
            place[key] = values[name]
    return result
