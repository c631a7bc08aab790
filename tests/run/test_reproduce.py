"""The command a card names makes the same run again, and is the same however it was spelled."""

import shlex

import pytest
from places import CONF

from birdbone.report.reproduce import reproduction
from birdbone.run import config
from birdbone.run.config import ProfileLoader
from birdbone.run.overrides import parse
from birdbone.run.reproduce import command


def loader(env=None, conf=CONF, **given):
    tree: dict = {}
    for key, value in given.items():
        *above, last = key.split("__")
        place = tree
        for part in above:
            place = place.setdefault(part, {})
        place[last] = value
    return ProfileLoader(str(conf), env, tree, base_env="base", default_run_env="local")


def test_profile_and_changed_parameters_are_named_and_quoted_for_a_shell():
    said = command(
        loader("tiny", model="/tmp/my-model[v2] é", micro_heal__steps=3, text__canaries=None)
    )
    assert shlex.split(said) == [
        "kedro",
        "run",
        "--env=tiny",
        "--params=micro_heal.steps=3,model=/tmp/my-model[v2] é",
    ]


def test_it_does_not_depend_on_order_or_on_what_the_profile_says_anyway():
    one, two = (
        loader("tiny", waves=3, model="gpt2"),
        loader("tiny", model="gpt2", max_loss=0.5, waves=3),
    )
    assert command(one) == command(two)


@pytest.mark.parametrize("env", ["base", "tiny", "small", "full", "code"])
def test_the_checked_values_of_a_profile_are_no_parameters_of_their_own(env, monkeypatch):
    monkeypatch.setattr(config, "_latest", None)
    checked = config.ConfigLoader(str(CONF), env, base_env="base", default_run_env="local")
    assert command(checked) == f"kedro run --env={env}"


@pytest.mark.parametrize("env", [None, "base", "local"])
def test_the_base_profile_has_one_name(env):
    assert command(loader(env)) == "kedro run --env=base"


def test_conf_local_is_told_as_parameters(tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "local").mkdir()
    (tmp_path / "base/parameters.yml").write_text("heal: {steps: 4, control: true}\n")
    (tmp_path / "local/parameters.yml").write_text("heal: {steps: 5, control: false}\n")
    assert (
        command(loader(None, tmp_path))
        == "kedro run --env=base --params=heal.control=false,heal.steps=5"
    )


@pytest.mark.parametrize(
    "value",
    [["Q8_0"], ["a, b"], [], "a, b", "no", "017", "it's", '"', "[v2] é", "{x", 3, 0.5, None, True],
)
def test_any_value_is_spelled_as_params_reads_it(value):
    line = command(loader("tiny", report__prompts=value))
    given = [word for word in shlex.split(line) if word.startswith("--params=")]
    assert [parse(word.removeprefix("--params=")) for word in given] == [
        {"report": {"prompts": value}}
    ]


def test_versions_and_seed_stand_above_the_command():
    tools, seed, line = reproduction("kedro run --env=base", "5eed").splitlines()
    assert "birdbone " in tools and "torch " in tools and "Python " in tools
    assert (seed, line) == ("# seed 5eed", "kedro run --env=base")


def test_a_job_is_named_and_not_what_it_stands_for():
    said = command(loader("tiny", specialise={"law": "news"}))
    assert said == 'kedro run --env=tiny --params=\'specialise={"law": "news"}\''
    again = loader("tiny", **parse(shlex.split(said)[-1].removeprefix("--params=")))
    assert again.tree()["text"]["source"] == "news" and command(again) == said
