"""What the report compares with and asks the model."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from birdbone.strict import Positive, Strict


class ReportSettings(Strict):
    peers: list[str]
    prompts: list[str]
    generate_tokens: Positive

    def names(self) -> Iterator[tuple[str, str, Collection[str]]]:
        from birdbone.gguf.llamacpp import FILE_TYPES

        yield from (("peers", name, FILE_TYPES) for name in self.peers)


SETTINGS = {"report": ReportSettings}
