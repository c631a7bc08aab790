"""The text that a run reads, in token windows, by what each part is for.

Legend: N windows, T tokens of a window.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Domain:
    """Text of one domain: windows int32 [N, T], and each one's document number, int32 [N]."""

    windows: Tensor
    documents: Tensor

    def first(self, count: int) -> Domain:
        """Its first windows alone."""
        return Domain(self.windows[:count], self.documents[:count])


@dataclass(frozen=True)
class Texts:
    """All text of a run.

    calibration, heal, check: int32 [N, T]; ``check`` chooses between candidates, and nothing learns
    from it. guard, test: the domains by name; the guard accepts by its own text, and only the
    report and the control read test text. domains: the names that count, as the settings list them.
    elsewhere: domains of test text alone, which say what the model lost outside its job. source:
    where the first three come from. written_share: the share of calibration and heal that the seed
    wrote; None before it wrote any.
    """

    calibration: Tensor
    heal: Tensor
    check: Tensor
    guard: dict[str, Domain]
    test: dict[str, Domain]
    domains: list[str]
    source: str
    window: int
    written_share: float | None = None
    elsewhere: tuple[str, ...] = ()

    def to_tensors(self) -> tuple[dict[str, Tensor], dict]:
        """As ``ObjectFolder`` stores it.

        The domains are ``guard.<domain>`` and ``guard.<domain>.documents``, test alike.
        """
        tensors = {"calibration": self.calibration, "heal": self.heal, "check": self.check}
        for split, domains in (("guard", self.guard), ("test", self.test)):
            for name, domain in domains.items():
                tensors[f"{split}.{name}"] = domain.windows
                tensors[f"{split}.{name}.documents"] = domain.documents
        about = {"window": self.window, "source": self.source, "domains": self.domains}
        if self.written_share is not None:
            about["written_share"] = self.written_share
        if self.elsewhere:
            about["elsewhere"] = list(self.elsewhere)
        return tensors, about

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], about: dict) -> Texts:
        """The inverse of ``to_tensors``. Domains come in alphabetical order, as in all figures."""

        elsewhere = about.get("elsewhere", [])

        def domains(split: str, names: list[str]) -> dict[str, Domain]:
            return {
                name: Domain(tensors[f"{split}.{name}"], tensors[f"{split}.{name}.documents"])
                for name in sorted(names)
            }

        return cls(
            tensors["calibration"],
            tensors["heal"],
            tensors["check"],
            domains("guard", about["domains"]),
            domains("test", about["domains"] + elsewhere),
            about["domains"],
            about["source"],
            about["window"],
            about.get("written_share"),
            tuple(elsewhere),
        )


@dataclass(frozen=True)
class LabelledTexts:
    """Labelled text sets: label -> windows int32 [N, T].

    scan: windows to scan; heldout: windows of other documents. sources: label -> where its text
    comes from, in the order of the labels.
    """

    scan: dict[str, Tensor]
    heldout: dict[str, Tensor]
    sources: dict[str, str]
    window: int

    @property
    def labels(self) -> list[str]:
        return list(self.sources)

    def to_tensors(self) -> tuple[dict[str, Tensor], dict]:
        """As ``ObjectFolder`` stores it: ``scan.<label>`` and ``heldout.<label>``."""
        tensors = {f"scan.{label}": windows for label, windows in self.scan.items()}
        tensors |= {f"heldout.{label}": windows for label, windows in self.heldout.items()}
        return tensors, {"labels": self.labels, "sources": self.sources, "window": self.window}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], about: dict) -> LabelledTexts:
        """The inverse of ``to_tensors``."""
        labels = about["labels"]
        return cls(
            {label: tensors[f"scan.{label}"] for label in labels},
            {label: tensors[f"heldout.{label}"] for label in labels},
            {label: about["sources"][label] for label in labels},
            about["window"],
        )
