"""dvc.yaml from registry and catalog: a stage per node, stale files found, edits rerun what they
must.
"""

import subprocess

import yaml
from demo_project import CHECK, WRITE
from real_project import lay_out_real
from reviewing import repro


def test_each_node_is_a_stage_with_its_files_code_and_parameters(tracked):
    content = yaml.safe_load((tracked.root / "dvc.yaml").read_text())
    heal = content["stages"]["wave_1-heal"]
    assert heal["cmd"] == "exec kedro run --env=base --pipelines=wave_1 --nodes=wave_1.heal"
    assert heal["deps"] == [
        "models/default/wave_1/pruned.txt",
        "src/demo/faults.py",
        "src/demo/maths.py",
        "src/demo/nodes.py",
    ]
    assert heal["params"] == [{"conf/base/parameters_heal.yml": ["heal"]}]
    assert heal["outs"] == [
        {"data/08_reporting/wave_1/curve.csv": {"cache": False}},
        "models/default/wave_1/model.txt",
    ]
    final = content["stages"]["final-report"]
    assert final["metrics"] == [{"data/08_reporting/final.json": {"cache": False}}]
    assert (
        content["metrics"] == ["data/08_reporting/aside.json"]
        and "aside-report" not in content["stages"]
    )
    assert content["plots"] == [
        {
            "curve": {
                "x": "step",
                "y": {
                    "data/08_reporting/wave_1/curve.csv": "loss",
                    "data/08_reporting/wave_2/curve.csv": "loss",
                },
            }
        }
    ]


def test_after_kedro_run_and_commit_dvc_has_nothing_to_do_and_an_edit_reruns_what_follows(tracked):
    by_kedro = tracked.results()
    assert repro(tracked) == []

    tracked.edit("conf/base/parameters_heal.yml", "steps: 4", "steps: 3")
    assert repro(tracked) == ["wave_1-heal", "wave_2-prune", "wave_2-heal", "final-report"]
    assert repro(tracked) == []
    assert "heal.steps" in tracked.command("dvc", "params", "diff").stdout
    assert "wave_1/model.txt" in tracked.command("dvc", "diff").stdout

    by_dvc = tracked.results()
    tracked.kedro("run", "--env=base", BIRDBONE_FRESH="1")
    assert tracked.results() == by_dvc != by_kedro


def test_a_changed_number_of_waves_makes_it_stale_and_a_retired_waves_files_go(tracked):
    assert tracked.python(CHECK).strip() == "True"
    tracked.edit("conf/base/parameters.yml", "waves: 2", "waves: 1")
    assert tracked.python(CHECK).strip() == "False"
    kept = {n: c for n, c in tracked.results().items() if "wave_2" not in n}
    deleted = tracked.python(WRITE).split()
    assert deleted == [
        "data/08_reporting/wave_2/curve.csv",
        "models/default/wave_2/model.txt",
        "models/default/wave_2/pruned.txt",
    ]
    assert tracked.results() == kept
    assert not (tracked.root / "models/default/wave_2").exists()
    assert tracked.python(CHECK).strip() == "True"
    assert repro(tracked) == ["final-report"]
    assert "wave_2" not in (tracked.root / "dvc.lock").read_text()


def test_stages_whose_parameters_name_what_lies_outside_depend_on_its_content(tmp_path):
    project = lay_out_real(tmp_path)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").write_text("text")
    project.edit("conf/base/parameters_seed.yml", "source: wikipedia", "source: texts")
    done = project.command("birdbone.cli.main", "dvc")
    assert done.returncode == 0, done.stderr
    stages = yaml.safe_load((tmp_path / "dvc.yaml").read_text())["stages"]
    for name in ("seed-load", "seed-text"):
        assert {"data/sources.json", "texts"} <= set(stages[name]["deps"])
    for name in ("report-files", "wave_1-guard"):
        assert "data/sources.json" in stages[name]["deps"]
        assert "texts" not in stages[name]["deps"]
    assert not {"data/sources.json", "texts"} & {
        *stages["wave_1-heal"]["deps"],
        *stages["report-page"]["deps"],
    }
    before = (tmp_path / "data/sources.json").read_text()
    assert '"name": "texts"' in before and str(tmp_path) not in before
    (tmp_path / "texts/a.txt").write_text("TEXT")
    project.command("birdbone.cli.main", "dvc")
    assert (tmp_path / "data/sources.json").read_text() != before


def test_a_dataset_without_a_catalog_entry_is_refused_by_name(tracked):
    tracked.edit("conf/base/catalog.yml", '"{wave}.pruned"', '"{wave}.other"')
    done = subprocess.run(
        ["python", "-c", WRITE],
        cwd=tracked.root,
        env=tracked.environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "wave_1.pruned is not in the catalog" in done.stderr
