"""The search for types ends just under the limit, in few measured steps, whatever the guess was."""

from types import SimpleNamespace

import pytest

from birdbone.algo.budget import Option
from birdbone.pipelines.quantize.search import aim, cost_of, search

LIMIT = 0.03
OPTIONS = {
    f"tensor {i}": [
        Option("fine", 85, 1e-5),
        Option("middle", 55, 2e-4 + 4e-6 * i),
        Option("coarse", 45, 1e-3 + 1e-5 * i),
    ]
    for i in range(60)
}


def tried(predicted: float, bound: float, accepted: bool) -> SimpleNamespace:
    return SimpleNamespace(predicted=predicted, bound=bound, accepted=accepted)


def searched(bound, spent: float = 0.0, trials: int = 3) -> list[SimpleNamespace]:
    """Every trial of a search where measuring gives ``bound(predicted)``."""
    made = []

    def measure(types: dict[str, str]) -> SimpleNamespace:
        predicted = cost_of(OPTIONS, types)
        made.append(tried(predicted, bound(predicted), bound(predicted) <= LIMIT))
        return made[-1]

    search(OPTIONS, measure, spent, LIMIT, trials)
    return made


@pytest.mark.parametrize(
    ("bound", "spent"),
    [
        (lambda cost: cost, 0.0),
        (lambda cost: 0.4 * cost, 0.0),
        (lambda cost: 2.5 * cost, 0.0),
        (lambda cost: 0.012 + cost, 0.001),
        (lambda cost: 0.017 + 0.9 * cost, 0.01),
    ],
    ids=["as predicted", "cheaper", "dearer", "spent more than said", "much spent"],
)
def test_it_ends_near_the_limit(bound, spent):
    made = searched(bound, spent)
    passed = [t for t in made if t.accepted]
    assert passed and len(made) <= 3
    assert max(t.bound for t in passed) > 0.75 * LIMIT or max(t.predicted for t in passed) > 0.05


def test_an_accepted_trial_near_the_limit_ends_the_search():
    made = searched(lambda cost: cost * 0.985 / 0.9, trials=6)
    assert [t.accepted for t in made] == [True]
    made = searched(lambda cost: cost * 0.95 / 0.9, trials=6)
    assert len(made) > 1 and made[-1].accepted


def test_where_nothing_passes_the_finest_types_are_measured_last():
    made = searched(lambda cost: 0.05 + cost)
    assert len(made) <= 4 and not any(t.accepted for t in made)
    assert made[-1].predicted == pytest.approx(60 * 1e-5)


def test_the_smallest_file_ends_the_search_at_once():
    assert len(searched(lambda cost: 0.1 * cost)) == 2


@pytest.mark.parametrize("spent", [0.0, 0.01])
def test_a_next_type_that_is_far_too_dear_ends_thesearch(spent):
    dear = {"tensor": [Option("fine", 85, 1e-3), Option("coarse", 45, 5.0)]}
    made = []

    def measure(types: dict[str, str]) -> SimpleNamespace:
        made.append(types["tensor"])
        return tried(cost_of(dear, types), 5e-3, True)

    search(dear, measure, spent, LIMIT, 6)
    assert made == ["fine", "fine"]


def test_a_task_that_falls_within_the_limit_is_closed_in_on_by_halves():
    made = []

    def measure(types: dict[str, str]) -> SimpleNamespace:
        predicted = cost_of(OPTIONS, types)
        made.append(tried(predicted, predicted, predicted < 0.008))
        return made[-1]

    search(OPTIONS, measure, 0.0, LIMIT, 6)
    passed = [t.predicted for t in made if t.accepted]
    assert passed and 0.005 < max(passed) < 0.008 and len(made) <= 6


def test_after_a_failure_past_a_cliff_it_goes_half_way_where_the_line_would_go_over_again():
    """As measured on the default: .0151 gave .022 and passed, but .0168 .0319, .0177 .0309, .0181
    .0303.
    """
    passed, failed = [(0.001, 0.001), (0.0151, 0.022)], [(0.0266, 0.0399), (0.0181, 0.0303)]
    line = aim(passed, failed, LIMIT, again=False)
    assert 0.0175 < line < 0.0181
    assert aim(passed, [*failed, (line, 0.0309)], LIMIT, again=True) == pytest.approx(
        (0.0151 + line) / 2
    )
    assert (
        aim(passed[:1], failed[:1], LIMIT, again=True) > (0.001 + 0.0266) / 2
    )  # nothing measured has passed
