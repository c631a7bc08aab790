"""Whether a bundle is whole: every checksum of it, and its patches beside its manifest."""

from __future__ import annotations

from pathlib import Path

from birdbone.diff.apply import verify_patches
from birdbone.diff.bundle import read_bundle
from birdbone.errors import BundleError


def verify_bundle(folder: Path) -> dict:
    """Check a bundle; no model is needed. Returns its ``id`` and what ``verify_patches`` counts.

    Raises ArtifactError or BundleError naming the file at fault.
    """
    manifest = read_bundle(folder)
    counts = verify_patches(folder)
    core = manifest["core"]
    if (counts["old"], counts["new"]) != (core["base"], core["new"]):
        raise BundleError(
            f"{folder}: its patches and its manifest are of different models: restore both"
        )
    return {"id": manifest["id"], **counts}
