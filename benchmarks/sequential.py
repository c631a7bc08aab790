"""Judging document by document, replayed on recorded trials: whether each verdict is the one that
all guard text gives, and how much of it is read.

Needs a run whose rounding read everything: `kedro run --params=quantize.error=0`. Each trial but
the first is heard in many random orders, helped by the trial before it and alone. Control: the
verdict after half the text, from the point alone.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from workbench import Artifacts, arguments, save

from birdbone.algo.bootstrap import ratio_interval
from birdbone.algo.perplexity import bound_of
from birdbone.algo.sequential import FEW, Foreseen, deviations, foresee

Columns = tuple[np.ndarray, np.ndarray, np.ndarray]


def main() -> None:
    asked = arguments(__doc__, orders=200, errors="0.001,0.01,0.05")
    record = Artifacts(asked.env).quantize_trials
    limit, errors = record["limit"], record["errors"]
    trials = [
        {n: tuple(np.array(d[k]) for k in ("before", "after", "tokens")) for n, d in each.items()}
        for each in (trial["domains"] for trial in record["trials"])
    ]
    read = [[len(columns[0]) for columns in trial.values()] for trial in trials]
    if any(count != read[0] for count in read) or len(trials) < 2:
        raise SystemExit(
            "the recorded trials were not read to their end, or are fewer than two: kedro run "
            f"--env={asked.env} --params=quantize.error=0"
        )
    truth = [all(_measured(c, errors).bound <= limit for c in t.values()) for t in trials]
    for number, (trial, passes) in enumerate(zip(trials, truth, strict=True), 1):
        bounds = {n: f"{_measured(c, errors).bound:+.2%}" for n, c in trial.items()}
        print(f"trial {number}: {'passes' if passes else 'fails'}  {bounds}", flush=True)
    rows = []
    for error in map(float, asked.errors.split(",")):
        for helped in (True, False):
            heard = [
                (_hear(trial, before if helped else None, limit, errors, error, order), passes)
                for order in range(asked.orders)
                for before, trial, passes in zip(trials, trials[1:], truth[1:], strict=False)
            ]
            rows.append(
                {
                    "error": error,
                    "helped": helped,
                    "otherwise": float(np.mean([said != passes for (said, _, _), passes in heard])),
                    "read": float(np.mean([read for (_, read, _), _ in heard])),
                    "half": float(np.mean([half != passes for (_, _, half), passes in heard])),
                }
            )
            _print(rows[-1])
    save("sequential", asked, rows, _picture(rows))


def _hear(
    trial: dict[str, Columns],
    before: dict[str, Columns] | None,
    limit: float,
    errors: float,
    error: float,
    order: int,
) -> tuple[bool, float, bool]:
    """(verdict, share of the tokens read, verdict from the point after half) of one trial."""
    random = np.random.default_rng(order)
    orders = {name: random.permutation(len(columns[0])) for name, columns in trial.items()}

    def look(name: str, count: int) -> Foreseen:
        columns, rows = trial[name], orders[name][:count]
        if count >= len(columns[0]):
            return _measured(columns, errors)
        helper = deviations(*before[name])[rows] if before else None
        total = (len(columns[0]), float(columns[2].sum()))
        chance = error / len(trial)
        return foresee(*(c[rows] for c in columns), total, errors, chance, helper)

    half = [look(name, max(FEW, len(rows) // 2)).bound <= limit for name, rows in orders.items()]
    read = dict.fromkeys(trial, min(FEW, *map(len, orders.values())))
    while True:
        seen = {name: look(name, count) for name, count in read.items()}
        open_ = [n for n, s in seen.items() if s.bound_low <= limit < s.bound_high]
        if not open_ or any(s.bound_low > limit for s in seen.values()):
            break
        for name in open_:
            read[name] += 1
    tokens = sum(trial[name][2][orders[name][:count]].sum() for name, count in read.items())
    passes = all(s.bound_high <= limit for s in seen.values())
    return passes, float(tokens / sum(c[2].sum() for c in trial.values())), all(half)


def _measured(columns: Columns, errors: float) -> Foreseen:
    """What all documents say."""
    interval = dict(
        zip(("change", "change_low", "change_high"), ratio_interval(*columns), strict=True)
    )
    figures = {**interval, "documents": len(columns[0]), "seed_perplexity": 0.0}
    change, bound = bound_of(figures, None, errors, 0)
    return Foreseen(change, bound, bound, bound)


def _print(row: dict) -> None:
    print(
        f"error {row['error']:.3f}  {'helped' if row['helped'] else 'alone ':6}  otherwise "
        f"{row['otherwise']:.3f}  read {row['read']:.0%}  control: after half of it otherwise "
        f"{row['half']:.3f}",
        flush=True,
    )


def _picture(rows: list[dict]) -> plt.Figure:
    figure, axis = plt.subplots(figsize=(6, 4))
    for helped, label in ((True, "with earlier trials"), (False, "alone")):
        mine = [r for r in rows if r["helped"] == helped]
        axis.plot(
            [100 * r["read"] for r in mine], [r["otherwise"] for r in mine], "o-", label=label
        )
    axis.set(xlabel="guard text read, %", ylabel="verdicts that all the text would not give")
    axis.legend()
    return figure


if __name__ == "__main__":
    main()
