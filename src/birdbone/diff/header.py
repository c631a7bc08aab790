"""The header of a patch file, parsed strictly: every number is checked before it is used."""

from __future__ import annotations

import unicodedata
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from birdbone.diff.bits import DTYPES, Spec
from birdbone.model.units import Axis, Nodes

FRAME = 1 << 24
"""Bytes of a payload that are compressed together; a multiple of every element's width."""
LARGEST = 1 << 48
"""Bytes of a tensor above which a header is nonsense."""


def cuts(size: int) -> range:
    """Where the frames of a payload of ``size`` bytes begin."""
    return range(0, size, FRAME)


def width(at: int, size: int) -> int:
    """Bytes of the frame at ``at`` before compression."""
    return min(FRAME, size - at)


def _tensor_name(name: str) -> str:
    control = any(unicodedata.category(c) in ("Cc", "Cs") for c in name)
    if not name or name == "__metadata__" or control:
        raise ValueError(f"{name!r} cannot name a tensor")
    return name


def _node_mask(name: str) -> str:
    if Nodes.parse(name) is None:
        raise ValueError(f"{name!r} is the name of no node mask")
    return name


def _dtype(dtype: str) -> str:
    if dtype not in DTYPES:
        raise ValueError(f"unknown data type {dtype!r}")
    return dtype


Name = Annotated[str, AfterValidator(_tensor_name)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, le=LARGEST)]
Shape = Annotated[tuple[Count, ...], Field(max_length=64)]
Frame = tuple[Count, Annotated[int, Field(ge=1, le=2 * (1 << 24))], Digest]
"""Its start in the payload, its compressed length, and the SHA-256 of the compressed bytes."""


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class StoredSide(_Strict):
    """A tensor before or after. ``frames`` hold it whole; there are none where the XOR gives it."""

    dtype: Annotated[str, AfterValidator(_dtype)]
    shape: Shape
    sha256: Digest
    frames: tuple[Frame, ...] = ()

    @property
    def spec(self) -> Spec:
        return Spec(DTYPES[self.dtype], self.shape)


class StoredAxis(_Strict):
    """An ``Axis``: along ``dim`` the XOR has the seed's width; ``mask`` names the node mask."""

    mask: Annotated[str, AfterValidator(_node_mask)]
    dim: Count
    entries: Annotated[int, Field(ge=1, le=LARGEST)]

    @property
    def axis(self) -> Axis:
        return Axis(Nodes.parse(self.mask), self.dim, self.entries)


class Entry(_Strict):
    """One tensor that differs. ``shape`` and ``frames`` are the XOR's; zero frames are left out."""

    name: Name
    kind: Literal["xor", "whole", "added", "removed"]
    old: StoredSide | None
    new: StoredSide | None
    shape: Shape | None = None
    axis: StoredAxis | None = None
    frames: tuple[Frame, ...] = ()

    @property
    def payloads(self) -> dict[str, tuple[Spec, tuple[Frame, ...]]]:
        """Spec and frames of ``xor``, or of ``old`` and ``new`` where present, in file order."""
        if self.kind == "xor":
            return {"xor": (Spec(DTYPES[self.old.dtype], self.shape), self.frames)}
        return {n: (s.spec, s.frames) for n, s in (("old", self.old), ("new", self.new)) if s}

    @model_validator(mode="after")
    def _sound(self) -> Entry:
        sides = {
            "xor": (True, True),
            "whole": (True, True),
            "added": (False, True),
            "removed": (True, False),
        }
        if (self.old is not None, self.new is not None) != sides[self.kind]:
            raise ValueError(f"{self.name} has not the sides of kind {self.kind}")
        if self.kind == "xor":
            self._check_xor()
        elif self.shape is not None or self.axis is not None or self.frames:
            raise ValueError(f"{self.name} is {self.kind} and yet has an XOR")
        for spec, frames in self.payloads.values():
            if spec.nbytes > LARGEST:
                raise ValueError(f"{self.name} is too large")
            every = cuts(spec.nbytes)
            rising = all(a[0] < b[0] for a, b in pairwise(frames)) and all(
                f[0] in every for f in frames
            )
            if not rising or (self.kind != "xor" and len(frames) != len(every)):
                raise ValueError(f"the frames of {self.name} do not cover its {spec.nbytes} bytes")
        return self

    def _check_xor(self) -> None:
        shapes = {side: list(s.shape) for side, s in (("old", self.old), ("new", self.new))}
        whole = self.old.frames or self.new.frames
        if self.shape is None or self.old.dtype != self.new.dtype or whole:
            raise ValueError(f"{self.name} has no XOR")
        if self.axis is not None:
            if self.axis.dim >= len(self.shape) or any(
                len(s) != len(self.shape) for s in shapes.values()
            ):
                raise ValueError(f"{self.name} has no dimension {self.axis.dim}")
            for shape in shapes.values():
                if shape[self.axis.dim] > self.shape[self.axis.dim]:
                    raise ValueError(f"{self.name} is wider than the seed")
                shape[self.axis.dim] = self.shape[self.axis.dim]
        if any(s != list(self.shape) for s in shapes.values()):
            raise ValueError(f"the shapes of {self.name} do not fit its XOR")


class Configs(_Strict):
    """The models' configurations."""

    old: dict[str, Any]
    new: dict[str, Any]


class Header(_Strict):
    """A patch between the states of digests ``old`` and ``new``; ``seed`` where one is needed."""

    format: Literal[1] = 1
    holds: Literal["weights", "masks"]
    old: Digest
    new: Digest
    seed: Digest | None
    config: Configs | None = None
    tensors: tuple[Entry, ...]
    unchanged: dict[Name, Digest]

    def digests(self, side: str) -> dict[str, str]:
        """``tensor_digest`` by name of every tensor of the ``old`` or the ``new`` state."""
        sides = {e.name: getattr(e, side) for e in self.tensors}
        return self.unchanged | {n: s.sha256 for n, s in sides.items() if s}

    @model_validator(mode="after")
    def _sound(self) -> Header:
        names = [e.name for e in self.tensors]
        if any(a >= b for a, b in pairwise(names)) or not self.unchanged.keys().isdisjoint(names):
            raise ValueError("tensors are not in order, or named twice")
        if (self.holds == "masks") != (self.config is not None):
            raise ValueError("the configurations belong to the masks' patch")
        if self.holds == "masks" and any(
            s.dtype != "bool" or e.kind == "xor" for e in self.tensors for s in (e.old, e.new) if s
        ):
            raise ValueError("masks are bool and held whole")
        if self.seed is None and any(e.axis for e in self.tensors):
            raise ValueError("a tensor is in the coordinates of a seed that is not named")
        return self
