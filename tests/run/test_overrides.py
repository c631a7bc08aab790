"""Parameters on the command line: YAML's values after ``=``, one parser for Kedro's run and our own
commands.
"""

import click
import pytest
from click.testing import CliRunner
from kedro.framework.cli.utils import _split_params

from birdbone.errors import ConfigError
from birdbone.run.overrides import Overrides, parse


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", {}),
        ("report.peers=[Q8_0,Q4_0],waves=2", {"report": {"peers": ["Q8_0", "Q4_0"]}, "waves": 2}),
        ("guard.tasks={arc: 0.02, mine: 0.1}", {"guard": {"tasks": {"arc": 0.02, "mine": 0.1}}}),
        ("a=[[1, 2], [3]], b = {x: {y: '}'}}", {"a": [[1, 2], [3]], "b": {"x": {"y": "}"}}}),
        (
            """report.prompts=[Don't go, "a, b", 'it''s, x']""",
            {"report": {"prompts": ["Don't go", "a, b", "it's, x"]}},
        ),
        (
            "threads=null,guard.control=false,text.canaries=~",
            {"threads": None, "guard": {"control": False}, "text": {"canaries": None}},
        ),
        (
            """text.source="a, b=c: d",model='123'""",
            {"text": {"source": "a, b=c: d"}, "model": "123"},
        ),
        ("model=a=b,waves=1", {"model": "a=b", "waves": 1}),
        ("model=a,model.adapter=b", {"model": {"name": "a", "adapter": "b"}}),
        ("model.adapter=b,model=a", {"model": {"name": "a", "adapter": "b"}}),
        ("model.adapter=b", {"model": {"adapter": "b"}}),
    ],
)
def test_values_are_yamls(text, tree):
    assert parse(text) == tree


@pytest.mark.parametrize(
    "path",
    [
        "/a b/c",
        "a[1]/b",
        "[old] texts",
        "/x/a: b",
        "my #1 texts",
        "C:\\x",
        "~/x",
        "it's",
        "@x",
        "'tis' it",
        "-",
        "é",
    ],
)
def test_a_path_is_taken_as_it_stands(path):
    assert parse(f"text.source={path},waves=3") == {"text": {"source": path}, "waves": 3}


@pytest.mark.parametrize(
    "text", ["a=1,b.c=2", "a=1e3,b=.5,c=true,d=x y", "a=1,,b=", "a=1,a=2,b={c: 1},b.d=2", "a.b=,"]
)
def test_what_kedro_reads_rightly_is_read_the_same(text):
    assert parse(text) == _split_params(None, None, text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("model", "'model' has no `=`"),
        ("waves=1,model", "'model' has no `=`"),
        ("text.source=a, b", "'b' has no `=`.*quotes"),
        ("=3", "'=3' has no name"),
        ("report.peers=[Q8_0,Q4_0", r"'\[Q8_0,Q4_0' does not close"),
        ("text.source='a,b", "does not close"),
        ("a={b: : c}", "a={b: : c} cannot be read"),
        ("a=${b", "cannot be read"),
    ],
)
def test_a_piece_that_cannot_be_read_is_named(text, says):
    with pytest.raises(ConfigError, match=says):
        parse(text)


@click.command()
@click.option("--params", cls=Overrides)
def show(params):
    click.echo(repr(params))


def test_the_option_may_be_given_more_than_once_and_the_later_one_wins():
    shown = CliRunner().invoke(
        show, ["--params=waves=1,model=a", "--params", "waves=2,model.adapter=b"]
    )
    assert shown.output == "{'waves': 2, 'model': {'name': 'a', 'adapter': 'b'}}\n"
    assert CliRunner().invoke(show, []).output == "{}\n"


def test_a_fault_is_said_in_words():
    shown = CliRunner().invoke(show, ["--params=model"])
    assert (
        shown.exit_code == 2 and "Invalid value for '--params': 'model' has no `=`" in shown.output
    )
