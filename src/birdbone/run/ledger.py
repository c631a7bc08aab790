"""The resume ledger: what each node was last run on, and what it made of it.

A node is done when its key (code, parameter values, digests of its inputs and of what its
parameters name outside the catalog, name) is the recorded one and the bytes of every output still
have the recorded digest. That a file exists never counts. A record holds what the key is made of,
and a few earlier ones, so that it can be said what made the files that are there now.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from urllib.parse import quote

from kedro.io import CatalogProtocol
from kedro.pipeline.node import Node
from pydantic import BaseModel

from birdbone.datasets.atomic import canonical_json, file_digest, write_file
from birdbone.datasets.place import place_of
from birdbone.run.code_digest import code_digest
from birdbone.run.load import Load
from birdbone.run.outside import NAMING, digests, reads, things
from birdbone.run.scratch import Scratch
from birdbone.run.timings import add_timing

EARLIER = 8
"""Records before the last one that are kept of each node."""


class Ledger:
    """Records of one profile, under ``<state>/ledger``; digests are computed once per run."""

    def __init__(self, state: Path, catalog: CatalogProtocol) -> None:
        self.state = state
        self.catalog = catalog
        self._digests: dict[str, str | None] = {}

    def decides(self, node: Node) -> dict | None:
        """All that decides the node's result, as JSON can hold it; None when an input has no
        digest.
        """
        parameters = [n for n in node.inputs if is_parameter(n)]
        inputs = {n: self.digest(n) for n in node.inputs if not is_parameter(n)}
        if None in inputs.values():
            return None
        return {
            "node": node.name,
            "function": f"{node.func.__module__}.{node._func_name}",
            "inputs": node.inputs,
            "outputs": node.outputs,
            "code": code_digest(node.func),
            "parameters": {n: _plain(self.catalog.load(n)) for n in parameters},
            "digests": inputs,
            "outside": self._outside(node),
        }

    def records(self, node: Node) -> list[dict]:
        """What is known of the node's runs, the last one first: ``key``, ``outputs`` and what
        ``decides`` gives.
        """
        last = self._read(node)
        return [record for record in (last, *last.get("earlier", [])) if "parameters" in record]

    def done(self, node: Node, key: str | None) -> bool:
        """Whether the recorded key is this one and every output still verifies, byte for byte."""
        record = self._read(node)
        return bool(
            key
            and node.outputs
            and record.get("key") == key
            and all(self.digest(n) == record["outputs"].get(n) is not None for n in node.outputs)
        )

    @contextmanager
    def running(self, node: Node, decides: dict | None, fresh: bool = False) -> Iterator[None]:
        """Around a node's execution: its scratch folder before, its record and seconds after."""
        key = key_of(decides)
        self.sweep(node, keep=None if fresh else key)
        folder = self._scratch(node) / key if key else None
        resumed = bool(folder and folder.is_dir() and any(folder.iterdir()))
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
        for dataset in map(self.catalog.get, node.inputs):
            if isinstance(dataset, Scratch):
                dataset.folder = folder
        load = Load()
        start = time.perf_counter()
        yield
        for name in node.outputs:
            self._digests.pop(name, None)
        outputs = {n: self.digest(n) for n in node.outputs}
        if key:
            decides = {**decides, "outside": self._fetched(node, decides["outside"])}
            record = {**decides, "key": key_of(decides), "outputs": outputs}
            earlier = [{k: v for k, v in r.items() if k != "earlier"} for r in self.records(node)]
            record["earlier"] = [r for r in earlier if r["key"] != record["key"]][:EARLIER]
            write_file(self._record(node), json.dumps(record, indent=1, ensure_ascii=False) + "\n")
        add_timing(self.state, node.name, time.perf_counter() - start, load.others(), resumed)
        self.sweep(node)

    def sweep(self, node: Node, keep: str | None = None) -> None:
        """Remove the node's scratch folders, all but that of the key to keep."""
        scratch = self._scratch(node)
        for folder in scratch.iterdir() if scratch.is_dir() else ():
            if folder.name != keep:
                shutil.rmtree(folder)
        if scratch.is_dir() and not any(scratch.iterdir()):
            scratch.rmdir()

    def digest(self, name: str) -> str | None:
        """A dataset's digest, see ``dataset_digest``."""
        if name not in self._digests:
            self._digests[name] = dataset_digest(self.catalog.get(name))
        return self._digests[name]

    def _outside(self, node: Node) -> dict[str, dict]:
        """Digests of what the node's parameters name outside the catalog. Who takes the whole tree
        reads none of it.
        """
        names = [n.removeprefix("params:") for n in node.inputs if n.startswith("params:")]
        if not any(reads(names, key) for key in NAMING):
            return {}
        named = {k: thing for k, thing in things(self.catalog.load("parameters")).items() if reads(names, k)}
        return digests(named, self.state.parent / "outside.json")

    def _fetched(self, node: Node, outside: dict[str, dict]) -> dict[str, dict]:
        """The same with the revisions of the hub's models that were not known before they were
        fetched.
        """
        unknown = [key for key, row in outside.items() if row["sha256"] is None and "revision" not in row]
        now = self._outside(node) if unknown else {}
        return {**outside, **{key: now[key] for key in unknown if "revision" in now.get(key, {})}}

    def _read(self, node: Node) -> dict:
        try:
            return json.loads(self._record(node).read_text())
        except (FileNotFoundError, ValueError):
            return {}

    def _record(self, node: Node) -> Path:
        return self.state / "ledger" / f"{quote(node.name, safe='')}.json"

    def _scratch(self, node: Node) -> Path:
        return self.state / "work" / quote(node.name, safe="")


def is_parameter(name: str) -> bool:
    """Whether a node's input is a parameter, or all of them."""
    return name == "parameters" or name.startswith("params:")


def key_of(decides: dict | None) -> str | None:
    """SHA-256 over all that decides a node's result."""
    return decides and hashlib.sha256(canonical_json(decides).encode()).hexdigest()


def dataset_digest(dataset: object) -> str | None:
    """Digest of what is on disk, re-hashed: the dataset's own, or that of its file's or folder's
    bytes.

    None for what is absent, damaged, or held in memory only.
    """
    if hasattr(dataset, "digest"):
        return dataset.digest()
    path = place_of(dataset)
    if path is None:
        return None
    if path.is_file():
        return file_digest(path)
    if not path.is_dir():
        return None
    files = {p.relative_to(path).as_posix(): file_digest(p) for p in sorted(path.rglob("*")) if p.is_file()}
    return hashlib.sha256(canonical_json(files).encode()).hexdigest()


def _plain(value: object) -> object:
    """A parameter as JSON can hold it; a type hint on the node may have made it a model or
    dataclass.
    """
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_unset=True)
    return asdict(value) if is_dataclass(value) else value
