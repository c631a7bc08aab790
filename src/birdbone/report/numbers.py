"""Figures as people read them. Every report writes its numbers through here."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from birdbone.report.data import Measure, value

NONE = "–"
MINUS = "−"
ROUNDING = 1e-8
"""A divergence this small, of either sign, is a rounding error."""
THIN = "\u202f"
"""Narrow no-break space, between a figure and its unit."""


def size(count: float | None) -> str:
    """Bytes in decimal units: ``98.4 MB``."""
    return NONE if count is None else _scaled(count, ("B", "kB", "MB", "GB", "TB"))


def amount(count: float | None) -> str:
    """A count: ``1536`` as it is, larger ones as ``134.5 M``."""
    if count is None:
        return NONE
    return f"{count:.0f}" if abs(count) < 10_000 else _scaled(count, ("", "k", "M", "G", "T"))


def exact(count: int | None) -> str:
    """Every digit of a count: ``45,152``."""
    return NONE if count is None else f"{count:,}"


def points(figure: float | None) -> str:
    """A difference of shares in percentage points, signed: ``+10``."""
    return NONE if figure is None else _signed(100 * figure, 0)


def plain(figure: float | None, digits: int = 2) -> str:
    """A figure with a fixed number of decimals."""
    return NONE if figure is None else f"{figure:.{digits}f}".replace("-", MINUS)


def nats(figure: Measure | None) -> str:
    """A divergence: ``0.0412 [0.0390, 0.0431]``; below 0.0001 as ``3.1e−08``."""
    return _with_interval(figure, _nats)


def share(figure: Measure | None, digits: int = 1) -> str:
    """A share of one as percent: ``93.4 %``."""
    return _with_interval(figure, lambda x: f"{100 * x:.{digits}f}".replace("-", MINUS), f"{THIN}%")


def change(figure: Measure | None, digits: int = 1) -> str:
    """A relative change, signed: ``+2.1 % [+1.4, +2.9]``."""
    return _with_interval(figure, lambda x: _signed(100 * x, digits), f"{THIN}%")


def duration(seconds: float | None) -> str:
    """``42 s``, ``3 min 20 s`` or ``2 h 05 min``."""
    if seconds is None:
        return NONE
    total = round(seconds)
    if total < 60:
        return f"{seconds:.1f}{THIN}s" if seconds < 10 else f"{total}{THIN}s"
    if total < 3600:
        return f"{total // 60}{THIN}min {total % 60:02d}{THIN}s"
    return f"{total // 3600}{THIN}h {total % 3600 // 60:02d}{THIN}min"


def times(larger: float, smaller: float) -> str:
    """A ratio: ``3.2×``."""
    return f"{larger / smaller:.2f}×"


def interval(measure: Measure | None, write: Callable[[float], str]) -> str | None:
    """The interval alone, ``+1.4 to +2.9``; None where a figure has none."""
    if not isinstance(measure, Sequence):
        return None
    unitless = [write(float(end)).removesuffix(f"{THIN}%") for end in measure[1:3]]
    return " to ".join(unitless)


def _nats(figure: float) -> str:
    if abs(figure) < ROUNDING:
        return "0"
    return (f"{figure:.4f}" if abs(figure) >= 1e-4 else f"{figure:.1e}").replace("-", MINUS)


def _signed(figure: float, digits: int) -> str:
    text = f"{figure:+.{digits}f}"
    is_zero = float(text) == 0
    return text[1:] if is_zero else text.replace("-", MINUS)


def _with_interval(figure: Measure | None, write: Callable[[float], str], unit: str = "") -> str:
    if figure is None:
        return NONE
    text = write(value(figure)) + unit
    if isinstance(figure, Sequence):
        text += f" [{write(figure[1])}, {write(figure[2])}]"
    return text


def _scaled(count: float, units: tuple[str, ...]) -> str:
    power = 0
    while abs(count) >= 999.95 and power < len(units) - 1:
        count /= 1000
        power += 1
    digits = 0 if power == 0 else 1
    return f"{count:.{digits}f}{THIN}{units[power]}".rstrip(THIN)
