"""Settings lie beside their stage, one file each, and reach the nodes that read them and no
others.
"""

import inspect
from importlib import import_module
from pathlib import Path
from types import UnionType
from typing import get_args, get_type_hints

import pytest
from base_parameters import base_parameters
from kedro.pipeline.node import Node
from pydantic import BaseModel

from birdbone.parameters import stage_settings
from birdbone.pipelines import stages
from birdbone.run.code_digest import code_files

PARAMETERS = base_parameters()
NODES = [
    node
    for stage in stages()
    for node in import_module(f"birdbone.pipelines.{stage}.pipeline")
    .create_pipeline(PARAMETERS)
    .nodes
]


def keys_read(node: Node) -> set[str]:
    """The top-level parameters that a node reads."""
    names = [name.removeprefix("params:") for name in node.inputs if name.startswith("params:")]
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.name)
def test_an_edit_of_a_stages_settings_reruns_only_who_reads_them(node):
    files = {Path(inspect.getsourcefile(cls)): key for key, cls in stage_settings().items()}
    in_closure = {files[path] for path in code_files(node.func) if path in files}
    assert in_closure <= keys_read(node)


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.name)
def test_a_node_takes_a_whole_group_as_the_class_that_checked_it(node):
    hints = get_type_hints(node.func)
    arguments = dict(zip(node.inputs, inspect.signature(node.func).parameters, strict=False))
    for key, settings in stage_settings().items():
        if f"params:{key}" in arguments:
            assert hints[arguments[f"params:{key}"]] is settings


def test_every_settings_file_is_collected_under_keys_of_its_own():
    assert all(issubclass(settings, BaseModel) for settings in stage_settings().values())
    assert {"text", "prune_wave", "micro_heal", "guard", "moe"} <= stage_settings().keys()


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.name)
def test_a_parameter_has_one_type(node):
    """Kedro warns at every run of a parameter whose hint is one of several types."""
    hints = get_type_hints(node.func)
    for name, argument in zip(node.inputs, inspect.signature(node.func).parameters, strict=False):
        if name.startswith("params:") and argument in hints:
            assert len(set(get_args(hints[argument])) - {type(None)}) <= 1 or not isinstance(
                hints[argument], UnionType
            )
