"""A stage is its folder: laying one into a project with its configuration is all it takes to run
it.
"""

import json

from real_project import lay_out_real

FILES = {
    "src/birdbone/pipelines/greet/__init__.py": '"""Greets."""\n\nWHOLE = True\n',
    "src/birdbone/pipelines/greet/settings.py": """
from birdbone.strict import Positive, Strict


class GreetSettings(Strict):
    times: Positive


SETTINGS = {"greet": GreetSettings}
""",
    "src/birdbone/pipelines/greet/nodes.py": """
from birdbone.pipelines.greet.settings import GreetSettings


def greet(settings: GreetSettings) -> dict:
    return {"words": "hello " * settings.times}
""",
    "src/birdbone/pipelines/greet/pipeline.py": """
from kedro.pipeline import Node, Pipeline

from birdbone.pipelines.greet.nodes import greet


def create_pipeline(parameters) -> Pipeline:
    return Pipeline([Node(greet, "params:greet", "greeting", name="greet.greet")])
""",
    "conf/base/catalog_greet.yml": """
greeting:
  type: birdbone.datasets.folders.JSONFile
  filepath: ${globals:data}/08_reporting/greeting.json
  metadata: {birdbone: {dvc: git}}
""",
    "conf/base/parameters_greet.yml": "greet: {times: 2}\n",
}


def test_a_folder_and_its_configuration_are_a_stage_that_runs(tmp_path):
    project = lay_out_real(tmp_path)
    for name, text in FILES.items():
        (project.root / name).parent.mkdir(exist_ok=True)
        (project.root / name).write_text(text)
    run = project.kedro("run", "--env=tiny", "--pipelines=greet", "--params=greet.times=3")
    assert run.returncode == 0, run.stderr
    assert (
        json.loads((project.root / "data/tiny/08_reporting/greeting.json").read_text())["words"]
        == "hello " * 3
    )
    refused = project.kedro("run", "--env=tiny", "--pipelines=greet", "--params=greet.times=0")
    assert refused.returncode == 1 and "parameter greet.times" in refused.stderr
    generate = (
        "from pathlib import Path; from birdbone.run.dvc_yaml import generate; "
        "print(generate(Path('.')))"
    )
    assert "greet-greet:" in project.python(
        generate
    ) and "src/birdbone/pipelines/greet/nodes.py" in project.python(generate)
