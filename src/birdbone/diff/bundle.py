"""A bundle on disk: ``diffs/<id>/`` with both patches, figures, texts and a manifest of them all.

The id is a SHA-256 of the change itself, so it survives rebase and squash. The parent commit is
recorded beside it.
"""

from __future__ import annotations

import hashlib
import json
import re
from importlib.metadata import version
from pathlib import Path

from birdbone.datasets.atomic import MANIFEST, canonical_json, json_digest, write_folder
from birdbone.diff.markdown import markdown_report
from birdbone.diff.page import bundle_page
from birdbone.diff.patch import MASKS_PATCH, WEIGHTS_PATCH, write_patches
from birdbone.diff.report_data import Story, story_of
from birdbone.diff.revisions import BUNDLES, Side
from birdbone.diff.states import State
from birdbone.errors import ArtifactError, BundleError
from birdbone.git.config_diff import config_text
from birdbone.git.notebooks import notebooks_text
from birdbone.model.checkpoint import names_digest

TOOLS = ("torch", "transformers", "peft", "gguf", "safetensors", "zstandard")
ID = re.compile(r"[0-9a-f]{12}")
STATE = re.compile(r"[0-9a-f]{64}")
SMALL = (
    "report.md",
    "report.html",
    MASKS_PATCH,
    "metrics.json",
    "config.diff",
    "notebooks.diff",
    MANIFEST,
)
"""Files that go to git. ``weights.patch`` goes to DVC, and so does a ``masks.patch`` too large for
git.
"""


def core_of(old: Side, new: Side) -> dict:
    """What the id is made of: digests of both states, masks and configuration; tool versions."""
    return {
        "base": old.state.digest,
        "new": new.state.digest,
        "masks": names_digest((n, new.state.masks.digest(n)) for n in new.state.masks),
        "config": hashlib.sha256(canonical_json(new.config).encode()).hexdigest(),
        "tools": {"birdbone": version("birdbone"), **{t: version(t) for t in TOOLS}},
    }


def bundle_id(core: dict) -> str:
    """The first twelve hex digits of the core's SHA-256."""
    return hashlib.sha256(canonical_json(core).encode()).hexdigest()[:12]


def write_bundle(old: Side, new: Side, seed: State | None, root: Path, parent: str | None) -> Path:
    """Write ``diffs/<id>/`` at once and return it. One with the same id is replaced.

    Raises BundleError when the two states are one, or nodes differ and no seed is given.
    """
    if old.state.digest == new.state.digest:
        raise BundleError(
            f"{old.label} and {new.label} are the same model ({old.state.digest[:12]}): nothing to "
            "bundle"
        )
    core = core_of(old, new)
    name = bundle_id(core)

    def fill(folder: Path) -> dict:
        summary = write_patches(old.state, new.state, seed, folder)
        story = story_of(name, old, new, seed, summary)
        write_texts(folder, story)
        tracked = new.tracked and {
            "path": new.tracked.path,
            "old": old.tracked.md5 if old.tracked else None,
            "new": new.tracked.md5,
        }
        return {
            "id": name,
            "core": core,
            "parent_commit": parent,
            "tracked": tracked,
            "seed": summary["seed"],
        }

    folder = root / BUNDLES / name
    write_folder(folder, fill)
    return folder


def write_texts(folder: Path, story: Story) -> None:
    """Everything of a bundle that people read, and ``metrics.json``."""
    old, new = story.old, story.new
    (folder / "metrics.json").write_text(json.dumps(story.metrics, indent=1, sort_keys=True) + "\n")
    config = config_text(old.config, new.config) if old.config else ""
    notebooks = ""
    if old.records.notebooks:
        notebooks = notebooks_text(old.records.notebooks, new.records.notebooks)
    (folder / "config.diff").write_text(config)
    (folder / "notebooks.diff").write_text(notebooks)
    (folder / "report.md").write_text(markdown_report(story, config, notebooks))
    (folder / "report.html").write_text(bundle_page(story, config, notebooks))


def read_bundle(folder: Path) -> dict:
    """The manifest of a bundle, its small files checked. Patches held by DVC may be absent.

    Raises BundleError when the folder holds no bundle, ArtifactError naming the changed file.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        good = (
            manifest["sha256"] == json_digest(manifest)
            and bundle_id(manifest["core"]) == manifest["id"]
        )
        files = {n: (int(e["bytes"]), str(e["sha256"])) for n, e in manifest["files"].items()}
        good &= all(STATE.fullmatch(manifest["core"][side]) for side in ("base", "new"))
    except FileNotFoundError as error:
        raise BundleError(f"{folder} holds no bundle: {MANIFEST} is missing") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(
            f"{folder / MANIFEST} is not a bundle's manifest: git checkout it"
        ) from error
    complete = {*files, MANIFEST} == {*SMALL, WEIGHTS_PATCH}
    if not good or not ID.fullmatch(manifest["id"]) or not complete:
        raise ArtifactError(
            f"{folder / MANIFEST} was changed since it was written: git checkout it"
        )
    for name, (size, sha) in files.items():
        path = folder / name
        large_masks = name == MASKS_PATCH and (folder / f"{name}.dvc").is_file()
        in_dvc = name == WEIGHTS_PATCH or large_masks
        if in_dvc and not path.is_file():
            continue
        if not path.is_file() or path.stat().st_size != size or _sha256(path) != sha:
            raise ArtifactError(
                f"{path} is missing or changed: git checkout it (what has a .dvc file: dvc "
                "checkout)"
            )
    return manifest


def read_metrics(folder: Path) -> dict:
    """A bundle's ``metrics.json``. Raises ArtifactError where verdict or figures are malformed."""
    path = folder / "metrics.json"
    try:
        figures = json.loads(path.read_text())
        change = figures.get("worst_change", 0.0)
        if isinstance(figures["verdict"], str) and isinstance(change, float | int):
            return figures
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ArtifactError(
            f"{path} is not a bundle's figures ({error!r}): git checkout it"
        ) from error
    raise ArtifactError(f"{path} is not a bundle's figures: git checkout it")


def find_bundle(root: Path, name: str) -> Path:
    """The bundle in this folder, or the one whose id begins so. Raises BundleError without one."""
    if (Path(name) / MANIFEST).is_file():
        return Path(name)
    if re.fullmatch(r"[0-9a-f]{4,12}", name):
        folders = [p.parent for p in (root / BUNDLES).glob(f"{name}*/{MANIFEST}")]
        if len(folders) == 1:
            return folders[0]
        if folders:
            raise BundleError(
                f"{name} begins the names of {len(folders)} bundles: give more of the id"
            )
    raise BundleError(f"there is no bundle {name!r} in {BUNDLES}/: `birdbone diff list` names them")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
