"""A model's tensors as they will stand in a GGUF file."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Quantized:
    """packed: name -> the bytes of its blocks. types: name -> GGUF type of every tensor, packed or
    not.
    """

    packed: dict[str, Tensor]
    types: dict[str, str]

    def to_tensors(self) -> tuple[dict[str, Tensor], dict]:
        """As ``ObjectFolder`` stores it."""
        return self.packed, {"types": self.types}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], about: dict) -> Quantized:
        """What ``to_tensors`` gave."""
        return cls(tensors, about["types"])
