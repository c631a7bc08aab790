"""A diff bundle's two patches: every bit that differs between two model states, in both directions.

``weights.patch`` holds per tensor the XOR of the two bit patterns, so that applying and reverting
are the same operation. Where the states hold different nodes of a layer, both are first laid over
the seed's tensor at full width. A node that went or came back with the seed's values then costs
nothing, but the seed is needed to read the patch. Tensors that have no such XOR are stored whole,
old and new. ``masks.patch`` holds old and new masks, and both configurations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError
from torch import Tensor

from birdbone.diff.bits import raw, spec_of
from birdbone.diff.container import PatchWriter
from birdbone.diff.coordinates import fits, shifted_axes, shifted_masks, widened
from birdbone.diff.header import Configs, Entry, Header, StoredAxis, StoredSide
from birdbone.diff.states import State, Tensors
from birdbone.errors import ArtifactError, BundleError
from birdbone.model.units import Axis

WEIGHTS_PATCH = "weights.patch"
MASKS_PATCH = "masks.patch"

Widen = Callable[[Tensor, str], Tensor]


def write_patches(old: State, new: State, seed: State | None, folder: Path) -> dict:
    """Write ``weights.patch`` and ``masks.patch`` of old → new into a folder, each at once.

    Returns ``{old, new, seed, bytes, weights, masks}``: digests, sizes by file, and per tensor or
    mask that differs ``{kind, elements, changed, bytes}``: the elements compared (at the seed's
    width where nodes differ), how many differ, compressed bytes. Raises BundleError when nodes
    differ and no seed is given, ArtifactError when a state is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    masks = shifted_masks(old, new)
    axes = _axes(old, new, seed, masks)
    about = {"old": old.digest, "new": new.digest, "seed": seed.digest if axes else None}

    def widen(side: int) -> Widen:
        def at_full_width(tensor: Tensor, name: str) -> Tensor:
            if name not in axes:
                return tensor
            mask = masks[axes[name].nodes.name][side]
            return widened(tensor, axes[name], mask, seed.weights, name)

        return at_full_width

    try:
        with PatchWriter(folder / WEIGHTS_PATCH) as writer:
            body, weights = _differences(
                writer, old.weights, new.weights, axes, (widen(0), widen(1))
            )
            size = writer.finish(Header(holds="weights", **about, **body))
        with PatchWriter(folder / MASKS_PATCH) as writer:
            body, changed = _differences(writer, old.masks, new.masks, {}, None)
            config = Configs(old=old.config, new=new.config)
            sizes = {
                WEIGHTS_PATCH: size,
                MASKS_PATCH: writer.finish(Header(holds="masks", config=config, **about, **body)),
            }
    except (ValidationError, UnicodeEncodeError) as error:
        why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise ArtifactError(f"{folder} cannot hold this difference: {why}") from error
    return {**about, "bytes": sizes, "weights": weights, "masks": changed}


def _axes(
    old: State, new: State, seed: State | None, masks: dict[str, tuple[Tensor, Tensor]]
) -> dict[str, Axis]:
    """The axis of each tensor whose difference in shape the node masks explain."""
    axes = {
        n: a
        for n, a in shifted_axes(new.config, set(masks)).items()
        if n in old.weights and n in new.weights
    }
    if axes and seed is None:
        raise BundleError(
            f"{', '.join(masks)} keep other nodes in the new model than in the old one: give the "
            "seed, in whose coordinates they compare"
        )
    explained = {}
    for name, axis in axes.items():
        whole = seed.weights.specs.get(name)
        kept = masks[axis.nodes.name]
        specs = [state.weights.specs[name] for state in (old, new)]
        wide = [
            whole and fits(s._replace(dtype=whole.dtype), whole, axis, m)
            for s, m in zip(specs, kept, strict=True)
        ]
        if not any(wide):
            raise BundleError(
                f"tensor {name} of the seed {seed.weights.origin} has not the width that mask "
                f"{axis.nodes.name} tells of: give the model that the masks are about"
            )
        if all(wide) and {s.dtype for s in specs} == {whole.dtype}:
            explained[name] = axis
    return explained


def _differences(
    writer: PatchWriter,
    old: Tensors,
    new: Tensors,
    axes: dict[str, Axis],
    widen: tuple[Widen, Widen] | None,
) -> tuple[dict, dict]:
    """Store what differs; returns the header's ``tensors`` and ``unchanged``, and the summary.

    Without ``widen`` every tensor is stored whole.
    """
    entries = []
    unchanged = {}
    summary = {}
    for name in sorted({*old, *new}):
        both = name in old and name in new
        if both and name not in axes and old.digest(name) == new.digest(name):
            unchanged[name] = old.digest(name)
            continue
        if widen and both and (name in axes or old.specs[name] == new.specs[name]):
            entry, changed = _xor(writer, name, old, new, axes.get(name), widen)
        else:
            entry, changed = _whole(writer, name, old, new)
        entries.append(entry)
        payloads = entry.payloads.values()
        summary[name] = {
            "kind": entry.kind,
            "elements": max(math.prod(spec.shape) for spec, _ in payloads),
            "changed": changed,
            "bytes": sum(length for _, frames in payloads for _, length, _ in frames),
        }
    return {"tensors": tuple(entries), "unchanged": unchanged}, summary


def _xor(
    writer: PatchWriter,
    name: str,
    old: Tensors,
    new: Tensors,
    axis: Axis | None,
    widen: tuple[Widen, Widen],
) -> tuple[Entry, int]:
    pairs = list(writer.pool.map(lambda tensors: tensors.verified(name), (old, new)))
    sides = [
        StoredSide(dtype=spec_of(t).word, shape=spec_of(t).shape, sha256=digest)
        for t, digest in pairs
    ]
    full = [lay(tensor, name) for lay, (tensor, _) in zip(widen, pairs, strict=True)]
    a, b = raw(full[0]), raw(full[1])
    frames, changed = writer.store(
        spec_of(full[0]), lambda start, stop: a[start:stop] ^ b[start:stop], sparse=True
    )
    where = StoredAxis(mask=axis.nodes.name, dim=axis.dim, entries=axis.entries) if axis else None
    shape = tuple(full[0].shape)
    entry = Entry(
        name=name, kind="xor", old=sides[0], new=sides[1], shape=shape, axis=where, frames=frames
    )
    return entry, changed


def _whole(writer: PatchWriter, name: str, old: Tensors, new: Tensors) -> tuple[Entry, int]:
    sides = {"old": None, "new": None}
    changed = 0
    for side, tensors in (("old", old), ("new", new)):
        if name in tensors:
            tensor, digest = tensors.verified(name)
            spec = spec_of(tensor)
            data = raw(tensor)
            frames, _ = writer.store(
                spec, lambda start, stop, data=data: data[start:stop], sparse=False
            )
            sides[side] = StoredSide(
                dtype=spec.word, shape=spec.shape, sha256=digest, frames=frames
            )
            changed = max(changed, tensor.numel())
    kind = "whole" if all(sides.values()) else "added" if sides["new"] else "removed"
    return Entry(name=name, kind=kind, **sides), changed
