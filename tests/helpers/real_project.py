"""The project itself, copied without its results, to run the tiny model in."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml
from demo_project import Project
from places import ROOT

PARTS = (
    "conf",
    "src",
    ".dvc/config",
    ".dvcignore",
    ".gitignore",
    ".telemetry",
    "dvc.yaml",
    "pyproject.toml",
)
LEFT = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*_cache")


def lay_out_real(root: Path) -> Project:
    """Copy configuration and code into an empty folder."""
    for part in PARTS:
        place = root / part
        place.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, place, ignore=LEFT)
        else:
            shutil.copy(ROOT / part, place)
    return Project(root, timeout=900)


def make_tiny_the_base(project: Project, changes: dict) -> None:
    """Lay the tiny profile, and ``changes`` over it, onto the base parameters: what DVC runs is
    then quick.
    """
    tiny = yaml.safe_load((project.root / "conf/tiny/parameters.yml").read_text())
    for file in (project.root / "conf/base").glob("parameters*.yml"):
        tree = yaml.safe_load(file.read_text())
        for over in (tiny, changes):
            tree = laid_over(tree, {key: over[key] for key in tree.keys() & over.keys()})
        file.write_text(yaml.safe_dump(tree, sort_keys=False))


def laid_over(tree: dict, over: dict) -> dict:
    """The tree with what differs, branch by branch."""
    both = {
        k: laid_over(tree[k], v) if isinstance(v, dict) and k in tree else v
        for k, v in over.items()
    }
    return {**tree, **both}
