"""Draws measurements as SVG: panels side by side, both axes logarithmic, a line for each series, light or dark."""
from __future__ import annotations

import html
import math
from dataclasses import dataclass
from typing import Callable, Dict, List, Sequence

#: A colour for each series, light and dark: they differ for colour-blind readers, too (Okabe and Ito), and in their dashes.
_COLOURS = (("#0072b2", "#56b4e9"), ("#d55e00", "#ff8f4a"), ("#007f5f", "#2fd0a3"), ("#a63d84", "#e89bcb"), ("#8a6d00", "#e6c229"),
            ("#59626f", "#a7b0bd"), ("#5b3fb0", "#b7a4ff"), ("#1f2430", "#e6e9ef"))
_DASHES = ("none", "none", "none", "none", "7 3", "2 3", "7 3 2 3", "4 4")
_STYLE = """.race {{ --ink: #1f2430; --soft: #59626f; --paper: #fff; --line: #c3cad3; color: var(--ink);
  font: 13px/1 system-ui, "DejaVu Sans", sans-serif; max-width: 100%; height: auto }}
{light}
@media (prefers-color-scheme: dark) {{ .race {{ --ink: #e6e9ef; --soft: #a7b0bd; --paper: #14181f; --line: #3a424e }}
{dark} }}
.race text {{ fill: currentColor }} .race .s {{ fill: var(--soft); font-size: 12px }} .race .c {{ text-anchor: middle }}
.race .e {{ text-anchor: end }} .race .b {{ font-weight: 600 }} .race .paper {{ fill: var(--paper) }}
.race .grid {{ stroke: var(--line); fill: none }} .race .series {{ fill: none; stroke-width: 2.2 }}"""
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM, _KEY = 330, 300, 74, 52, 52, 20  # of a panel, and of a line of the key


@dataclass(frozen=True)
class Panel:
    """One pair of axes: what it shows, how a value is written, and the values of each series by size in bytes."""

    title: str
    unit: Callable[[float], str]
    series: Dict[str, Dict[int, float]]


def bytes_in_words(size: float) -> str:
    """Returns a size as people write it: 8 B, 64 KiB."""
    return f"{size:.0f} B" if size < 1024 else f"{size / 1024:.0f} KiB" if size < 1 << 20 else f"{size / (1 << 20):.0f} MiB"


def rate_in_words(rate: float) -> str:
    """Returns bytes per second in decimal units, as disks and networks are sold."""
    unit, name = next((unit, name) for unit, name in ((1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s"), (1, "B/s")) if rate >= unit or unit == 1)
    return f"{rate / unit:.3g} {name}"


def time_in_words(nanoseconds: float) -> str:
    """Returns a time with three digits at most."""
    unit, name = next((unit, name) for unit, name in ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1, "ns")) if nanoseconds >= unit or unit == 1)
    return f"{nanoseconds / unit:.3g} {name}"


def _panel(panel: Panel, names: Sequence[str], left: float) -> List[str]:
    sizes = sorted({size for points in panel.series.values() for size in points})
    values = [value for points in panel.series.values() for value in points.values()]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)
    right, bottom = left + _WIDTH - 12, _TOP + _HEIGHT - _BOTTOM

    def x(size: float) -> float:
        return left + _LEFT + (right - left - _LEFT) * math.log2(size / sizes[0]) / max(1.0, math.log2(sizes[-1] / sizes[0]))

    def y(value: float) -> float:
        return bottom - (bottom - _TOP - 10) * (math.log10(value) - low) / (high - low)

    parts = [f'<text class="b" x="{left + _LEFT:.0f}" y="{_TOP - 8}">{html.escape(panel.title)}</text>']
    for power in range(low, high + 1):
        parts.append(f'<path class="grid" d="M{left + _LEFT:.0f} {y(10 ** power):.1f}H{right:.0f}"/><text class="s e" '
                     f'x="{left + _LEFT - 6:.0f}" y="{y(10 ** power) + 4:.1f}">{html.escape(panel.unit(10 ** power))}</text>')
    for size in sizes:
        parts.append(f'<text class="s c" x="{x(size):.1f}" y="{bottom + 18}">{bytes_in_words(size)}</text>')
    parts.append(f'<text class="s c" x="{(left + _LEFT + right) / 2:.0f}" y="{bottom + 38}">bytes in a message</text>')
    for name, points in panel.series.items():
        at, number = [(x(size), y(points[size])) for size in sorted(points)], names.index(name) % len(_COLOURS)
        path = "L".join(f"{a:.1f} {b:.1f}" for a, b in at)
        parts.append(f'<path class="series n{number}" d="M{path}"/>')
        parts += [f'<circle class="dot n{number}" cx="{a:.1f}" cy="{b:.1f}" r="2.6"/>' for a, b in at]
    return parts


def draw(title: str, panels: Sequence[Panel]) -> str:
    """Returns the picture of some panels with one key for all.

    @param title   what the picture shows, for those who do not see it
    @param panels  at least one, each with at least one value
    """
    names = list(dict.fromkeys(name for panel in panels for name in panel.series))
    width, columns = _WIDTH * len(panels) + 16, 2 if len(panels) > 1 else 1
    rows = -(-len(names) // columns)
    height = _TOP + _HEIGHT + _KEY * rows + 10

    def colours(dark: int) -> str:
        return "\n".join(f".race .n{i} {{ stroke: {pair[dark]}; stroke-dasharray: {_DASHES[i]} }} .race .dot.n{i} {{ fill: {pair[dark]} }}"
                         for i, pair in enumerate(_COLOURS))

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" class="race" viewBox="0 0 {width} {height}" width="{width}" role="img">',
             f"<title>{html.escape(title)}</title><style>{_STYLE.format(light=colours(0), dark=colours(1))}</style>",
             f'<rect class="paper" width="{width}" height="{height}"/><text class="b" x="16" y="22">{html.escape(title)}</text>']
    for number, panel in enumerate(panels):
        parts += _panel(panel, names, _WIDTH * number)
    for number, name in enumerate(names):
        x, y = 24 + (width - 24) // columns * (number // rows), _TOP + _HEIGHT + 4 + _KEY * (number % rows)
        parts.append(f'<path class="series n{number % len(_COLOURS)}" d="M{x} {y}h30"/>'
                     f'<text x="{x + 40}" y="{y + 4}">{html.escape(name)}</text>')
    return "\n".join(parts) + "\n</svg>\n"
