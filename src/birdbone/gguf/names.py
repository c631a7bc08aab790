"""A model's tensors under GGUF's names."""

from __future__ import annotations

from collections.abc import Container

from birdbone.model.layout import Layout


def tensor_names(layout: Layout, tensors: Container[str], arch: str | None = None) -> dict[str, list[str]]:
    """GGUF name -> those of the canonical ``tensors`` that it joins, in the file's order.

    arch: llama.cpp's architecture; the family's own where none is given.
    """
    form = layout.family.gguf
    modules = dict(form.modules)
    for block in layout.blocks:
        parts = form.names(arch or form.arch)
        modules |= {block.part(part): f"blk.{block.layer}.{name}" for part, name in parts.items()}
    names: dict[str, list[str]] = {}
    for module, name in modules.items():
        for suffix in ("weight", "bias"):
            if f"{module}.{suffix}" in tensors:
                names.setdefault(f"{name}.{suffix}", []).append(f"{module}.{suffix}")
    for block in layout.blocks:
        for part, name in form.tensors.items():
            if block.part(part) in tensors:
                names[f"blk.{block.layer}.{name}"] = [block.part(part)]
    head = f"{form.modules[layout.family.head]}.weight"
    if form.own_head:
        names.setdefault(head, [layout.embedding])
    return names
