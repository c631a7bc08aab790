"""Reading ``.mscan`` version 1, and saying what is wrong with it.

``<5sHII`` header (magic, version, length of header and JSON together, records), JSON, records of 12
bytes. It knows no checksum, no model digest and no token texts.
"""

from __future__ import annotations

import json
import logging
import re
import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from birdbone.datasets.mscan_reader import Module, Norms, Scan

HEAD = struct.Struct("<5sHII")
RECORD = np.dtype([("token", "<u4"), ("module", "<u2"), ("block", "<u2"), ("a", "<u2"), ("g", "<u2")])
ALWAYS = (
    "version 1 pairs input block i with output block i, so A·G is no weight block's gradient",
    "version 1 takes a token's activation from the position before it",
    "version 1 has no checksum: damage inside a record cannot be seen",
)


class ScanV1(Scan):
    """A version 1 scan through the same doors. Values are the stored integers; blocks that were not
    recorded are 0. ``tokens`` are empty texts. ``faults`` begins with what this file lacks."""

    version = 1

    def __init__(self, path: Path, data: np.ndarray) -> None:
        self.path, self.complete, self.model_digest, self.block = path, True, "", 64
        if len(data) < HEAD.size:
            raise self._corrupted("its header is cut off")
        _, _, size, count = HEAD.unpack(data[: HEAD.size].tobytes())
        if size < HEAD.size or size + count * RECORD.itemsize != len(data):
            raise self._corrupted(f"{count} records and a header of {size} bytes are not {len(data)} bytes")
        try:
            head = json.loads(data[HEAD.size : size].tobytes())
            self.model = head.get("model_name", "")
            names = {int(i): name for i, name in head["id_to_param_name_map"].items()}
            sequences = [(int(s["num_tokens"]), str(s.get("source", ""))) for s in head["sequences"]]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._corrupted("its header is not that of a scan") from error
        records = data[size:].view(RECORD)
        self._records = records[np.argsort(records["token"], kind="stable")]
        self._sequences = sequences
        self._sources = [source for length, source in sequences for _ in range(length)]
        unnamed = set(np.unique(records["module"]).tolist()) - set(names)
        if unnamed or (count and int(records["token"].max()) >= len(self._sources)):
            raise self._corrupted(f"records name tokens or modules {sorted(unnamed)[:3]} not in its header")
        self._ids = sorted(names)
        width = {i: 64 * (1 + int(records["block"][records["module"] == i].max(initial=0))) for i in self._ids}
        self.modules = [Module(names[i], _layer(names[i]), width[i], width[i]) for i in self._ids]
        self.faults = (*self._own_faults(), *ALWAYS)
        for fault in self.faults[: -len(ALWAYS)]:
            logging.getLogger(__name__).warning("%s: %s", path, fault)

    def __len__(self) -> int:
        return len(self._sources)

    @property
    def tokens(self) -> list[str]:
        return [""] * len(self)

    @property
    def sources(self) -> list[str]:
        return self._sources

    @property
    def chunks(self) -> list[tuple[str, list[str]]]:
        return [(source, [""] * length) for length, source in self._sequences if length]

    def verify(self) -> None:
        """There is no checksum; the sizes were compared when it was opened."""

    def _read(self, numbers: Iterable[int], start: int, stop: int | None) -> dict[str, Norms]:
        start, stop, _ = slice(start, stop).indices(len(self))
        first, last = np.searchsorted(self._records["token"], (start, max(start, stop)))
        records = self._records[first:last]
        norms = {}
        for number in numbers:
            module, own = self.modules[number], records[records["module"] == self._ids[number]]
            place = own["token"].astype(np.int64) - start, own["block"]
            sides = np.zeros((2, max(0, stop - start), module.inputs // 64), "f4")
            sides[0][place], sides[1][place] = own["a"], own["g"]
            norms[module.name] = Norms(*torch.from_numpy(sides))
        return norms

    def _own_faults(self) -> list[str]:
        if len(self._records) and not self._records["g"].any():
            return ["every gradient is zero: it shows activations only and its SPS means nothing; scan again"]
        return []


def _layer(name: str) -> int:
    """The decoder layer in a module's name; -1 for modules outside the layers."""
    number = re.search(r"\.(?:layers|h|blocks)\.(\d+)\.", f".{name}.")
    return int(number[1]) if number else -1
