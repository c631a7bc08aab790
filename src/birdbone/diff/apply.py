"""Apply a diff bundle to its old state, or revert it from its new one."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from torch import Tensor

from birdbone.diff.bits import Spec, raw, unraw
from birdbone.diff.container import PatchFile
from birdbone.diff.coordinates import fits, narrowed, node_pair, widened
from birdbone.diff.header import Entry
from birdbone.diff.partial import mixed
from birdbone.diff.patch import MASKS_PATCH, WEIGHTS_PATCH
from birdbone.diff.states import State, Tensors, state_digest, write_state
from birdbone.errors import ArtifactError, BundleError
from birdbone.model.checkpoint import tensor_digest


class Bundle:
    """A folder's two patches, checked against each other and against the digests they claim."""

    def __init__(self, folder: Path) -> None:
        """Raises ArtifactError when a patch is missing, damaged or of another bundle."""
        self.folder = folder
        self.weights = PatchFile(folder / WEIGHTS_PATCH)
        self.masks = PatchFile(folder / MASKS_PATCH)
        a, b = self.weights.header, self.masks.header
        self.old = a.old
        self.new = a.new
        self.seed = a.seed
        models = [(header.old, header.new, header.seed) for header in (a, b)]
        if (a.holds, b.holds) != ("weights", "masks") or models[0] != models[1]:
            raise ArtifactError(
                f"{folder}: its two patches are not of one bundle. Restore both with dvc checkout"
            )
        for side in ("old", "new"):
            config = getattr(b.config, side)
            digest = getattr(a, side)
            if state_digest(config, a.digests(side).items(), b.digests(side).items()) != digest:
                raise ArtifactError(
                    f"{folder}: its patches do not list the tensors of {digest}. Make it again"
                )

    @cached_property
    def mask_changes(self) -> dict[str, tuple[Tensor | None, Tensor | None]]:
        """Every mask that differs: bool, old and new, None where it is not there (all kept)."""
        return {
            n: tuple(_whole(self.masks, n, s) for s in ("old", "new")) for n in self.masks.entries
        }


def verify_patches(folder: Path) -> dict:
    """Check every checksum of a bundle. No model is needed.

    Returns ``{old, new, seed, weights, masks}``; ``weights`` and ``masks`` count what differs.
    Raises ArtifactError naming the file and tensor.
    """
    bundle = Bundle(folder)
    for patch in (bundle.weights, bundle.masks):
        for name, entry in patch.entries.items():
            for part in entry.payloads:
                if part == "xor":
                    for _ in patch.frames(name, part):
                        pass
                else:
                    _whole(patch, name, part)
    counts = {"weights": len(bundle.weights.entries), "masks": len(bundle.masks.entries)}
    return {"old": bundle.old, "new": bundle.new, "seed": bundle.seed, **counts}


def apply_bundle(
    base: State,
    folder: Path,
    seed: State | None,
    target: Path,
    revert: bool = False,
    layers: set[int] | None = None,
    masks_only: bool = False,
) -> str:
    """Write what ``patched`` gives as a model folder, at once, with every tensor checked.

    Returns the model's digest.
    """
    return write_state(target, patched(base, folder, seed, revert, layers, masks_only))


def patched(
    base: State,
    folder: Path,
    seed: State | None = None,
    revert: bool = False,
    layers: set[int] | None = None,
    masks_only: bool = False,
) -> State:
    """The state that a bundle makes of ``base``. Each tensor is computed when it is read.

    revert: ``base`` is the bundle's new state and the result its old one. layers, masks_only: apply
    only a part, see ``partial.mixed``. Raises BundleError when base or seed is not the bundle's,
    ArtifactError when it is damaged.
    """
    bundle = Bundle(folder)
    have, want = ("new", "old") if revert else ("old", "new")
    _check_base(bundle, base, getattr(bundle, have), revert)
    if bundle.seed is not None and (seed is None or seed.digest != bundle.seed):
        raise BundleError(
            f"{folder} needs its seed, the model of digest {bundle.seed}: "
            + (f"{seed.weights.origin} has {seed.digest}" if seed else "none was given")
        )
    masks = _target(
        base.masks, bundle.masks, want, lambda entry: _whole(bundle.masks, entry.name, want)
    )

    def make(entry: Entry) -> Tensor:
        if entry.kind != "xor":
            return _whole(bundle.weights, entry.name, want)
        return _xored(bundle.weights, entry, (have, want), base, seed, masks)

    weights = _target(base.weights, bundle.weights, want, make)
    whole = State(getattr(bundle.masks.header.config, want), weights, masks)
    if layers is None and not masks_only:
        return whole
    axes = {n: e.axis.axis for n, e in bundle.weights.entries.items() if e.axis}
    return mixed(base, whole, axes, layers, masks_only)


def _check_base(bundle: Bundle, base: State, expected: str, revert: bool) -> None:
    if base.digest != expected:
        verb = "reverted from" if revert else "applied to"
        other = bundle.old if revert else bundle.new
        action = "reverting" if revert else "applying"
        hint = f" (it is the model that {action} gives)" if base.digest == other else ""
        raise BundleError(
            f"{bundle.folder} can only be {verb} the model of digest {expected}; "
            f"{base.weights.origin} has {base.digest}{hint}"
        )


def _target(base: Tensors, patch: PatchFile, want: str, make) -> Tensors:
    """The tensors of the target side: the base's where unchanged, else ``make`` of the entry."""
    digests = patch.header.digests(want)
    entries = {n: e for n, e in patch.entries.items() if n in digests}
    specs = {n: getattr(entries[n], want).spec if n in entries else base.specs[n] for n in digests}
    origin = f"{patch.path} on {base.origin}"
    return Tensors(origin, specs, lambda n: make(entries[n]) if n in entries else base[n], digests)


def _whole(patch: PatchFile, name: str, side: str) -> Tensor | None:
    """A tensor that the patch holds whole."""
    stored = getattr(patch.entries[name], side)
    if stored is None:
        return None
    data = np.zeros(stored.spec.nbytes, np.uint8)
    patch.add(name, side, data)
    tensor = unraw(data, stored.spec)
    if tensor_digest(tensor) != stored.sha256:
        raise ArtifactError(
            f"{patch.path}: tensor {name} is not what its digest says. Make it again"
        )
    return tensor


def _xored(
    patch: PatchFile,
    entry: Entry,
    sides: tuple[str, str],
    base: State,
    seed: State | None,
    masks: Tensors,
) -> Tensor:
    """The target side of a tensor stored as XOR; ``masks`` are the target state's."""
    have, want = (getattr(entry, side) for side in sides)
    full = Spec(have.spec.dtype, entry.shape)
    fit = base.weights.specs[entry.name] == have.spec
    if entry.axis:
        axis = entry.axis.axis
        fit &= axis.nodes.name in base.masks or axis.nodes.name in masks
        fit &= entry.name in seed.weights and seed.weights.specs[entry.name] == full
        before, after = node_pair(base.masks, masks, axis.nodes.name) if fit else (None, None)
        fit = fit and fits(have.spec, full, axis, before) and fits(want.spec, full, axis, after)
    if not fit:
        raise ArtifactError(
            f"{patch.path}: tensor {entry.name} does not fit the model's masks and seed. Make it "
            "again"
        )
    tensor = base.weights[entry.name]
    if entry.axis:
        tensor = widened(tensor, axis, before, seed.weights, entry.name)
    data = raw(tensor).copy()
    patch.add(entry.name, "xor", data)
    result = unraw(data, full)
    return narrowed(result, axis, after) if entry.axis else result
