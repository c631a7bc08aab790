"""Resume: kill -9 anywhere, the same command again, the same results; nothing stale is kept."""

import pytest

STEPS = [f"step {i}" for i in range(1, 5)]


@pytest.mark.parametrize(
    ("kill_at", "repeated"),
    [
        ("pruning", ["prune", *STEPS, "prune", *STEPS, "report"]),
        ("step 3", ["step 4", "prune", *STEPS, "report"]),
        ("saving wave_1/model.txt", ["prune", *STEPS, "report"]),
        ("saved wave_1/model.txt", ["prune", *STEPS, "report"]),
        ("saved wave_1/curve.csv", ["prune", *STEPS, "report"]),
        ("saving 08_reporting/final.json", ["report"]),
    ],
)
def test_a_killed_run_goes_on_and_ends_like_an_undisturbed_one(
    demo, undisturbed, kill_at, repeated
):
    assert demo.kedro("run", KILL_AT=kill_at).returncode == -9
    demo.calls()
    again = demo.kedro("run")
    assert again.returncode == 0, again.stderr
    assert demo.calls() == repeated
    assert demo.results() == undisturbed  # no temporary file is left either
    assert "seed.load: unchanged, kept" in again.stderr
    assert list((demo.root / ".birdbone/data/work").iterdir()) == []


def test_a_second_run_keeps_every_node_and_says_so(finished):
    again = finished.kedro("run")
    assert finished.calls() == []
    assert again.stderr.count("unchanged, kept") == 6


def test_a_changed_parameter_reruns_its_readers_and_what_follows_and_back(finished):
    before = finished.results()
    finished.kedro("run", "--params=heal.steps=2")
    assert finished.calls() == ["step 1", "step 2", "prune", "step 1", "step 2", "report"]
    assert finished.results() != before
    finished.kedro("run")
    assert finished.results() == before


def test_changed_code_reruns_the_nodes_that_import_it(finished):
    finished.edit("src/demo/maths.py", "' '", "'-'")
    finished.kedro("run")
    assert finished.calls() == ["load", "prune", *STEPS, "prune", *STEPS, "report"]


@pytest.mark.parametrize(
    "name", ["models/default/wave_1/model.txt", "data/08_reporting/final.json"]
)
def test_a_changed_byte_in_a_result_is_seen_and_the_result_made_again(finished, name):
    before = finished.results()
    content = (finished.root / name).read_text()
    (finished.root / name).write_text(chr(ord(content[0]) ^ 1) + content[1:])
    finished.kedro("run")
    assert finished.results() == before
    assert finished.calls()
    finished.kedro("run")
    assert finished.calls() == []


def test_a_checkpoint_of_other_parameters_is_not_used(demo):
    assert demo.kedro("run", KILL_AT="step 3").returncode == -9
    demo.calls()
    demo.kedro("run", "--params=heal.lr=0.25", "--to-nodes=wave_1.heal")
    assert demo.calls() == STEPS


def test_fresh_recomputes_what_is_asked_for_from_its_start(finished):
    assert (
        finished.kedro(
            "run", "--nodes=wave_1.heal", BIRDBONE_FRESH="1", KILL_AT="step 3"
        ).returncode
        == -9
    )
    finished.calls()
    finished.kedro("run", "--nodes=wave_1.heal", BIRDBONE_FRESH="1")
    assert finished.calls() == STEPS


def test_kedros_own_selections_still_work(finished):
    before = finished.results()
    (finished.root / "models/default/wave_2/model.txt").unlink()
    finished.kedro("run", "--only-missing-outputs")
    assert finished.calls() == STEPS
    finished.kedro("run", "--from-nodes=wave_2.heal", "--params=heal.steps=1")
    assert finished.calls() == ["step 1", "report"]
    finished.kedro("run", "--tags=heal")
    assert finished.calls() == STEPS
    assert {k: v for k, v in finished.results().items() if "wave" in k} == {
        k: v for k, v in before.items() if "wave" in k
    }


def test_seconds_are_kept_outside_every_result(finished):
    from birdbone.run.timings import read_timings

    timings = read_timings(finished.root / ".birdbone/data")
    waves = {f"wave_{i}.{step}" for i in (1, 2) for step in ("prune", "heal")}
    assert set(timings) == {"seed.load", "final.report", *waves}
    assert all(timing.seconds >= 0 for timing in timings.values())
