"""Figures, what they are held against, and how they are shown."""

import json
import statistics
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Target:
    """A bound in words, and whether it is kept; none where what it is held against was not measured."""

    text: str
    met: bool | None

    def __str__(self) -> str:
        return f"{self.text}: {'not judged' if self.met is None else 'met' if self.met else 'NOT MET'}"


@dataclass
class Figure:
    """One line: measured values, and what bare loop and Go tool needed in the same rounds."""

    name: str
    unit: str
    values: list[float]
    bare: list[float] = field(default_factory=list)
    peer: list[float] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def of_bare(self) -> float | None:
        """How many times the bare loop's: the median of the ratios round by round, since both ran in each of them."""
        return ratio(self.values, self.bare)

    @property
    def faster(self) -> float | None:
        """How many times faster than the Go tool."""
        return ratio(self.peer, self.values)

    def at_most_of_bare(self, bound: float) -> "Figure":
        return self._hold(f"<= {bound:.2f} x bare", self.of_bare, lambda measured: measured <= bound)

    def speed_of_bare(self, bound: float) -> "Figure":
        return self._hold(f">= {bound:.1f} of bare speed", self.of_bare, lambda measured: 1 / measured >= bound)

    def faster_than_peer(self, bound: float) -> "Figure":
        return self._hold(f">= {bound:.1f} x Go tool", self.faster, lambda measured: measured >= bound)

    def below(self, bound: float) -> "Figure":
        return self._hold(f"< {bound:g} {self.unit}".rstrip(), max(self.values), lambda measured: measured < bound)

    def at_most(self, bound: float) -> "Figure":
        return self._hold(f"<= {bound:g}", max(self.values), lambda measured: measured <= bound)

    def _hold(self, text: str, measured: float | None, keeps) -> "Figure":
        self.targets.append(Target(text, None if measured is None else keeps(measured)))
        return self


def ratio(these: list[float], those: list[float]) -> float | None:
    return statistics.median(a / b for a, b in zip(these, those)) if these and those else None


def show(figures: list[Figure]) -> str:
    """A table for people."""
    lines = [f"{'figure':<44}{'median':>9}{'least':>9}{'most':>9} {'unit':<5}{'x bare':>7}{'x Go':>7}  target"]
    for f in figures:
        numbers = "".join(f"{value:>9.{digits(value)}f}" for value in (f.median, min(f.values), max(f.values)))
        ratios = "".join(f"{'-' if value is None else format(value, '.2f'):>7}" for value in (f.of_bare, f.faster))
        lines.append(f"{f.name:<44}{numbers} {f.unit:<5}{ratios}  {'; '.join(map(str, f.targets))}".rstrip())
    return "\n".join(lines)


def digits(value: float) -> int:
    return 3 if abs(value) < 10 else 1


def save(figures: list[Figure], path: Path, **about) -> None:
    """The same as JSON, with every value measured."""
    rows = [
        {
            "name": f.name,
            "unit": f.unit,
            "values": f.values,
            "median": f.median,
            "least": min(f.values),
            "most": max(f.values),
            "bare": f.bare,
            "peer": f.peer,
            "timesBare": f.of_bare,
            "fasterThanPeer": f.faster,
            "targets": [{"text": t.text, "met": t.met} for t in f.targets],
        }
        for f in figures
    ]
    path.write_text(json.dumps({**about, "figures": rows}, indent=1) + "\n")
