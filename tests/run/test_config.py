"""The config loader: the whole tree is checked first, and every command sees the same waves."""

import pytest
from places import CONF

from birdbone.run import config
from birdbone.settings import CONFIG_LOADER_ARGS


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["--params=waves=0,typo=3"],
            ["parameter waves: should be at least 1 (got 0)", "typo: unknown"],
        ),
        (["--params=heal.step=3"], ["parameter heal.step: unknown"]),
        (["--env=huge"], ["no profile 'huge'", "base, tiny"]),
    ],
)
def test_a_bad_parameter_ends_the_run_with_its_message_and_nothing_written(demo, arguments, says):
    run = demo.kedro("run", *arguments)
    assert run.returncode == 1
    assert all(line in run.stderr for line in says)
    assert "Traceback" not in run.stderr
    assert demo.results() == {} and not (demo.root / ".birdbone").exists()


def test_unreadable_yaml_names_the_file(demo):
    (demo.root / "conf/base/parameters_heal.yml").write_text("heal: {steps: 4\n")
    run = demo.kedro("registry", "list")
    assert run.returncode == 1
    assert "parameters_heal.yml" in run.stderr and "Traceback" not in run.stderr


def test_a_profile_changes_only_what_it_names_and_writes_to_its_own_roots(demo):
    assert demo.kedro("run", "--env=tiny").returncode == 0
    assert demo.calls() == ["load", "prune", "step 1", "step 2", "report"]
    assert all(name.startswith(("data/tiny/", "models/tiny/")) for name in demo.results())
    assert demo.kedro("run", "--env=tiny", "--params=heal.lr=0.5").returncode == 0
    assert demo.calls() == []  # the same learning rate as base: tiny kept it


def test_runtime_parameters_set_the_waves(demo):
    assert (
        demo.kedro("run", "--params=waves=3,heal.steps=1", "--to-outputs=wave_3.pruned").returncode
        == 0
    )
    assert "models/default/wave_3/pruned.txt" in demo.results()


def test_registry_catalog_and_snapshots_agree_on_the_profile(demo):
    assert "wave_2" not in demo.kedro("registry", "list", KEDRO_ENV="tiny").stdout
    assert "wave_2" in demo.kedro("registry", "list").stdout
    assert "wave_2" not in demo.kedro("catalog", "describe-datasets", "--env=tiny").stdout
    waves = demo.python(
        "from kedro.framework.project import pipelines, settings\n"
        "from kedro.inspection import get_project_snapshot\n"
        "def waves(names):\n"
        "    print(sum(n.startswith('wave_') for n in names))\n"
        "for env in ('base', 'tiny', 'base'):\n"
        "    waves(p.name for p in get_project_snapshot('.', env=env).pipelines)\n"
        "for given in ({'waves': 4}, {}):\n"
        "    settings.SESSION_CLASS.create(runtime_params=given).load_context()\n"
        "    waves(pipelines)\n"
    )
    assert waves.split() == ["2", "1", "2", "4", "2"]


@pytest.fixture
def loader(monkeypatch):
    """The project's own loader, which then comes out of force."""
    monkeypatch.setattr(config, "_latest", None)
    return lambda conf, env, **given: config.ConfigLoader(conf, env, given, **CONFIG_LOADER_ARGS)


def test_nodes_get_the_checked_values(loader):
    given = loader(CONF, "tiny", guard={"control": "false"}, micro_heal={"steps": 4.0})[
        "parameters"
    ]
    assert given["guard"]["control"] is False
    assert repr(given["micro_heal"]["steps"]) == "4"


def test_an_adapter_alone_is_laid_over_the_model_below(loader, tmp_path):
    assert loader(CONF, "tiny", model={"adapter": "lora"}).checked.model == {
        "name": "tiny",
        "adapter": "lora",
    }
    assert (
        loader(CONF, "base", model={"name": "gpt2", "adapter": "lora"}).checked.model["name"]
        == "gpt2"
    )
    assert loader(CONF, "base", model="gpt2")["parameters"]["model"] == "gpt2"
    (tmp_path / "base").symlink_to(CONF / "base")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/parameters.yml").write_text("model: {adapter: lora}\n")
    assert loader(tmp_path, "mine")["parameters"]["model"] == {"name": "smollm2", "adapter": "lora"}
    assert loader(tmp_path, "mine", model="gpt2").checked.model == "gpt2"
    assert loader(tmp_path, "mine", model={"name": "gpt2"}).checked.model == {
        "name": "gpt2",
        "adapter": "lora",
    }


def test_a_project_whose_path_has_brackets_spaces_and_accents_has_its_configuration(tmp_path):
    conf = tmp_path / "my [proj] é *" / "conf"
    for name, text in {
        "base/parameters.yml": "waves: 2\n",
        "base/parameters/more.yml": "deep: 1\n",
    }.items():
        (conf / name).parent.mkdir(parents=True, exist_ok=True)
        (conf / name).write_text(text)
    (conf / "mine[1]").mkdir()
    (conf / "mine[1]/parameters_a.yml").write_text("waves: 3\n")
    found = config.ProfileLoader(
        str(conf), "mine[1]", base_env="base", default_run_env="local"
    ).tree()
    assert found == {"waves": 3, "deep": 1}
