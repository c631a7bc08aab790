"""dvc.yaml from the Kedro registry and catalog: one stage per node of the default pipeline.

Metrics of pipelines outside it (the benchmark tasks) are listed alone: `dvc metrics diff` shows them, no stage
makes them.

Always of the ``base`` profile. A stage depends on its inputs' files, on the import closure of its node's function, on
the parameters it reads, and where these may name what lies outside the catalog on ``data/sources.json``, which tells
its content; what lies in the project is a dependency itself. Never on the registry or the catalog, so that a new wave
repeats no old one. A catalog entry says what its file is to DVC::

    metadata: {birdbone: {dvc: out}}                       cached by DVC (the default)
    metadata: {birdbone: {dvc: git}}                       small, kept in git
    metadata: {birdbone: {dvc: metric}}                    JSON kept in git, `dvc metrics`
    metadata: {birdbone: {dvc: plot, x: step, y: loss}}    CSV kept in git, `dvc plots`
    metadata: {birdbone: {dvc: none}}                      not tracked
"""

from __future__ import annotations

import shutil
from contextlib import chdir
from pathlib import Path
from typing import Any

import yaml
from kedro.framework import project
from kedro.framework.startup import bootstrap_project
from kedro.pipeline.node import Node

from birdbone.datasets.atomic import write_file
from birdbone.errors import ConfigError
from birdbone.run.catalog import CatalogFiles
from birdbone.run.code_digest import code_files
from birdbone.run.config import ConfigLoader, base_loader, make_loader, roots
from birdbone.run.outside import NAMING, SOURCES, inside, reads, refresh, things, within

PROFILE = "base"
HEADER = "# Made by `birdbone dvc` from the pipeline registry and the catalog. Do not edit.\n"


def generate(root: Path) -> str:
    """The text of dvc.yaml for the Kedro project in ``root``.

    Raises ConfigError naming the dataset or parameter that cannot be declared.
    """
    root = root.resolve()
    loader = _load(root)
    catalog = CatalogFiles(loader)
    nodes = project.pipelines["__default__"].nodes
    stages = {stage_name(node): _stage(node, root, loader, catalog) for node in nodes}
    content: dict[str, Any] = {"stages": stages}
    if metrics := _metrics_outside(nodes, catalog):
        content["metrics"] = metrics
    if plots := _plots(nodes, catalog):
        content["plots"] = plots
    return HEADER + yaml.safe_dump(content, sort_keys=False, width=1000)


def check(root: Path) -> bool:
    """Whether the dvc.yaml in ``root`` is what ``generate`` would write."""
    file = root / "dvc.yaml"
    return file.is_file() and file.read_text() == generate(root)


def write(root: Path) -> list[Path]:
    """Write dvc.yaml and sources.json, and delete the files of retired stages (a wave that is no more).

    Only paths that the old dvc.yaml declared and that lie in the profile's roots are deleted.
    Returns what was deleted, relative to ``root``.
    """
    file = root / "dvc.yaml"
    new = generate(root)
    retired = _declared(file.read_text()) - _declared(new) if file.is_file() else set()
    homes = [(root / place).resolve() for place in roots(_load(root)).values()]
    deleted = []
    for name in sorted(retired):
        path = (root / name).resolve()
        if path.exists() and any(home in path.parents for home in homes):
            _remove(path, homes)
            deleted.append(Path(name))
    write_file(file, new)
    refresh_base(root)
    _forget(root / "dvc.lock", yaml.safe_load(new)["stages"])
    return deleted


def stage_name(node: Node) -> str:
    """What a node's stage is called: DVC takes no dots."""
    return node.name.replace(".", "-")


def refresh_base(root: Path) -> None:
    """``sources.json`` of the base profile, which DVC follows, made what its parameters name now."""
    loader = base_loader(root)
    refresh(root, loader.tree(), roots(loader)["data"])


def _load(root: Path) -> ConfigLoader:
    bootstrap_project(root)
    return make_loader(root, PROFILE)


def _stage(node: Node, root: Path, loader: ConfigLoader, catalog: CatalogFiles) -> dict:
    keys = [name for name in node.inputs if name == "parameters" or name.startswith("params:")]
    inputs = [name for name in node.inputs if name not in keys and catalog.kind(name) != "none"]
    code = [path.relative_to(root).as_posix() for path in code_files(node.func)]
    stage: dict[str, Any] = {"cmd": _command(node)}
    stage["deps"] = sorted({*map(catalog.path, inputs), *code, *_outside(keys, root, loader)})
    if keys:
        stage["params"] = _params(keys, root / project.settings.CONF_SOURCE / PROFILE, root)
    for section, kinds in (("outs", ("out", "git", "plot")), ("metrics", ("metric",))):
        names = sorted((n for n in node.outputs if catalog.kind(n) in kinds), key=catalog.path)
        if names:
            stage[section] = [_out(catalog.path(n), catalog.kind(n)) for n in names]
    return stage


def _outside(keys: list[str], root: Path, loader: ConfigLoader) -> list[str]:
    """``sources.json`` where these parameters may name what lies outside, and what they name of the project's own.

    A profile's own results are no dependency of its own: DVC would see a circle.
    """
    tree, where = loader.tree(), roots(loader)
    names = [key.removeprefix("params:") for key in keys if key != "parameters"]
    if not any(reads(names, key) and within(tree, key) for key in NAMING):
        return []
    with chdir(root):
        named = [inside(root, thing) for key, thing in things(tree).items() if reads(names, key)]
    own = tuple(f"{place}/" for place in where.values())
    return [f"{where['data']}/{SOURCES}", *(path for path in named if path and not f"{path}/".startswith(own))]


def _command(node: Node) -> str:
    """Through the pipeline named as the node's first part, where there is one.

    Never through a slice over all waves: its name or size may change with their number.
    """
    pipeline = node.name.partition(".")[0]
    registered = pipeline in project.pipelines and node in project.pipelines[pipeline].nodes
    # `exec`: no shell between `dvc repro` and its child, which then dies with it.
    return f"exec kedro run --env={PROFILE}{f' --pipelines={pipeline}' if registered else ''} --nodes={node.name}"


def _out(path: str, kind: str) -> str | dict:
    return path if kind == "out" else {path: {"cache": False}}


def _params(names: list[str], folder: Path, root: Path) -> list[dict]:
    """DVC's ``params:``, each key under the file of the base profile that holds it."""
    files = {p: yaml.safe_load(p.read_text()) or {} for p in sorted(folder.rglob("parameters*.yml"))}
    if "parameters" in names:
        return [{p.relative_to(root).as_posix(): None} for p in files]
    keys_of: dict[str, list[str]] = {}
    for key in sorted(name.removeprefix("params:") for name in names):
        file = next((p for p, tree in files.items() if within(tree, key)), None)
        if file is None:
            raise ConfigError(f"parameter {key} is read by a node but is in no {folder}/parameters*.yml")
        keys_of.setdefault(file.relative_to(root).as_posix(), []).append(key)
    return [{file: keys} for file, keys in sorted(keys_of.items())]


def _metrics_outside(nodes: list[Node], catalog: CatalogFiles) -> list[str]:
    """Metrics files of registered pipelines that are not among ``nodes``."""
    others = {node for pipeline in project.pipelines.values() for node in pipeline.nodes} - set(nodes)
    names = {name for node in others for name in node.outputs}
    return sorted(catalog.path(n) for n in names if catalog.kind(n) == "metric")


def _plots(nodes: list[Node], catalog: CatalogFiles) -> list[dict]:
    """One chart per kind of curve, the waves' curves together: ``wave_1.curve``, ``wave_2.curve``."""
    charts: dict[str, dict] = {}
    names = sorted((n for node in nodes for n in node.outputs if catalog.kind(n) == "plot"), key=catalog.path)
    for name in names:
        notes = catalog.notes(name)
        if not {"x", "y"} <= notes.keys():
            raise ConfigError(f"catalog entry {name}: a plot needs metadata.birdbone.x and .y (column names)")
        chart = charts.setdefault(name.rpartition(".")[2], {"x": notes["x"], "y": {}})
        chart["y"][catalog.path(name)] = notes["y"]
    return [{name: chart} for name, chart in sorted(charts.items())]


def _declared(text: str) -> set[str]:
    """Every output path a dvc.yaml declares."""
    stages = (yaml.safe_load(text) or {}).get("stages", {}).values()
    items = [item for s in stages for section in ("outs", "metrics") for item in s.get(section, [])]
    return {path for item in items for path in ([item] if isinstance(item, str) else item)}


def _forget(lock: Path, stages: dict[str, dict]) -> None:
    """Drop retired stages from dvc.lock, and those that lost an input: DVC does not see that change."""
    if not lock.is_file():
        return
    content = yaml.safe_load(lock.read_text())
    for name, entry in list(content.get("stages", {}).items()):
        recorded = {dep["path"] for dep in entry.get("deps", [])}
        if name not in stages or recorded - set(stages[name]["deps"]):
            del content["stages"][name]
    write_file(lock, yaml.safe_dump(content, sort_keys=False))


def _remove(path: Path, homes: list[Path]) -> None:
    """Delete a file or folder, and folders above it that hold nothing but DVC's .gitignore then."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    for parent in path.parents:
        if parent in homes or {p.name for p in parent.iterdir()} - {".gitignore"}:
            return
        shutil.rmtree(parent)
