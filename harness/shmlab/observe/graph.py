"""The list as a graph of processes and objects: for dot(1), and as a drawing in SVG that needs no other program.

The drawing has the style of the project's figures, see docs/figures: dark where the reader's browser is.
"""
from __future__ import annotations

from .objects import ORPHAN, UNSEEN, USED, Object, plain
from .processes import command_of
from .table import access_text, human, shown_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Sequence, Tuple

    Access = Tuple[Tuple[int, str], ...]  # of a process: the index of each object that it has, and how

_MOST = 60  # boxes in a column of the drawing
_ROW, _BOX, _LEFT, _RIGHT, _WIDE, _WIDTH = 50, 38, 12, 420, 196, 728
_OBJECT_WIDE = _WIDTH - _RIGHT - 12


class Box:
    """Objects of one kind, name and state that the same processes have in the same ways: they are drawn as one."""

    def __init__(self, item: Object) -> None:
        self.first, self.items = item, [item]
        self.holders = item.holders
        self.state = item.state

    @property
    def label(self) -> str:
        several = f"{len(self.items)} x " if len(self.items) > 1 else ""
        name = shown_name(self.first) if self.first.name or not several else ""
        return f"{several}{self.first.kind} {name}".rstrip()

    @property
    def size(self) -> str:
        known = [item.size for item in self.items if item.size is not None]
        at_least = len(known) < len(self.items) or any(item.size_at_least for item in self.items)
        return human(sum(known)) + ("+" if at_least else "") if known else "size not known"


def _boxes(objects: "Sequence[Object]") -> "List[Box]":
    found: "Dict[object, Box]" = {}
    for item in objects:
        name = item.identity if item.kind == "sysv" else item.name
        same = (item.kind, name, item.state, tuple(sorted((pid, access_text(h.access)) for pid, h in item.holders.items())))
        if same in found:
            found[same].items.append(item)
        else:
            found[same] = Box(item)
    return list(found.values())


def _groups(objects: "Sequence[Box]") -> "List[Tuple[str, List[int], Access]]":
    """Returns the processes: those of one program that have the same objects in the same ways count as one."""
    having: "Dict[int, List[Tuple[int, str]]]" = {}
    for index, item in enumerate(objects):
        for pid, holder in item.holders.items():
            having.setdefault(pid, []).append((index, access_text(holder.access)))
    groups: "Dict[Tuple[str, Access], List[int]]" = {}
    for pid in sorted(having):
        groups.setdefault((command_of(pid) or "(ended)", tuple(having[pid])), []).append(pid)
    found = [(command, pids, access) for (command, access), pids in groups.items()]
    found.sort(key=lambda group: (sum(index for index, _ in group[2]) / len(group[2]), group[1]))
    return found


def _label(command: str, pids: "List[int]") -> "Tuple[str, str]":
    """Returns the two lines of a process's box."""
    if len(pids) == 1:
        return plain(command), f"pid {pids[0]}"
    return f"{len(pids)} x {plain(command)}", f"pids {pids[0]} to {pids[-1]}"


def dot(objects: "Sequence[Object]") -> str:
    """Returns the graph in the language of dot(1), from Graphviz."""
    lines = ["graph shmls {", "  rankdir=LR;", '  node [shape=box, fontname="sans-serif"];']
    boxes = _boxes(objects)
    for index, item in enumerate(boxes):
        text = "\n".join([item.label, item.size, *([item.state] if item.state != USED else [])])
        style = {ORPHAN: ', style=filled, fillcolor="#fde0dd"', USED: ', style=filled, fillcolor="#d3e8fd"'}
        lines.append(f"  o{index} [label={_dot_string(text)}{style.get(item.state, ', style=dashed')}];")
    for number, (command, pids, access) in enumerate(_groups(boxes)):
        lines.append(f"  p{number} [label={_dot_string(chr(10).join(_label(command, pids)))}, shape=ellipse];")
        for index, how in access:
            lines.append(f"  p{number} -- o{index} [label={_dot_string(how)}{', style=dashed' if how == 'fd' else ''}];")
    return "\n".join([*lines, "}"]) + "\n"


def _dot_string(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


_STYLE = """
    .sm { --ink: #1f2430; --soft: #59626f; --paper: #fff; --line: #838d9b; --process: #f2f4f7; --shared: #d3e8fd;
      --shared-line: #1767a8; --name: #fdeec6; --name-line: #97640a; --bad: #fde0dd; --bad-line: #b3261e;
      color: var(--ink); font: 12px/1 system-ui, "DejaVu Sans", sans-serif; max-width: 100%; height: auto }
    @media (prefers-color-scheme: dark) {
      .sm { --ink: #e6e9ef; --soft: #a7b0bd; --paper: #14181f; --line: #78828f; --process: #1f252e; --shared: #0f3a5e;
        --shared-line: #6cb6f5; --name: #45360f; --name-line: #dfae4a; --bad: #571f1b; --bad-line: #ff8f86 }
    }
    .sm text { fill: currentColor }
    .sm .b { font-weight: 600 }
    .sm .s { fill: var(--soft) }
    .sm .e { text-anchor: end }
    .sm .paper { fill: var(--paper) }
    .sm .process { fill: var(--process); stroke: var(--line); stroke-width: 1.2 }
    .sm .used { fill: var(--shared); stroke: var(--shared-line); stroke-width: 1.4 }
    .sm .removed { fill: var(--name); stroke: var(--name-line); stroke-width: 1.4; stroke-dasharray: 5 3 }
    .sm .orphan { fill: var(--bad); stroke: var(--bad-line); stroke-width: 1.4 }
    .sm .unseen { fill: var(--paper); stroke: var(--line); stroke-width: 1.4; stroke-dasharray: 2 3 }
    .sm .edge { fill: none; stroke: var(--shared-line); stroke-width: 1.8 }
    .sm .reads { stroke: var(--soft); stroke-width: 1.2 }
    .sm .open { stroke: var(--soft); stroke-width: 1.2; stroke-dasharray: 4 4 }
  """


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _fitting(text: str, characters: int) -> str:
    """Returns a text of at most so many characters: of a path the end, of other names the beginning."""
    if len(text) <= characters:
        return text
    before, slash, after = text.partition(" /")
    if slash and "/" in after:
        return f"{before} …{text[len(before) + 2 - characters:]}"
    return text[:characters - 1] + "…"


def _box(kind: str, x: int, y: int, wide: int, first: str, second: str, third: str = "") -> str:
    """Returns a box with two lines, and a third text at the right end of the second line."""
    return (f'  <rect class="{kind}" x="{x}" y="{y}" width="{wide}" height="{_BOX}" rx="4"/>\n'
            f'  <text class="b" x="{x + 8}" y="{y + 16}">{_escaped(_fitting(first, (wide - 16) // 8))}</text>\n'
            f'  <text class="s" x="{x + 8}" y="{y + 31}">{_escaped(second)}</text>\n'
            + (f'  <text class="s e" x="{x + wide - 8}" y="{y + 31}">{_escaped(third)}</text>\n' if third else ""))


def _box_style(item: Box) -> str:
    """Returns the class of an object's box: "removed?" is drawn like "removed"."""
    return {ORPHAN: "orphan", UNSEEN: "unseen", USED: "used"}.get(item.state, "removed")


def _key(y: int) -> str:
    """Returns the explanation of the lines, at the bottom of the drawing."""
    parts, x = [], _LEFT
    for kind, text in (("edge", "mapped to write"), ("edge reads", "mapped to read only"), ("edge open", "open, not mapped")):
        parts.append(f'  <path class="{kind}" d="M{x} {y - 4}h26"/>\n  <text class="s" x="{x + 32}" y="{y}">{text}</text>\n')
        x += 168
    return "".join(parts)


def svg(objects: "Sequence[Object]") -> str:
    """Returns the drawing: processes on the left, objects on the right, a line for each pair of which one has the other."""
    found = _boxes(objects)
    shown = found[:_MOST]
    groups = _groups(shown)
    drawn = groups[:_MOST]
    rows = max(len(drawn), len(shown), 1)
    height = 34 + rows * _ROW + 30
    gap_left = rows * _ROW / max(len(drawn), 1)
    gap_right = rows * _ROW / max(len(shown), 1)

    def place(index: int, gap: float) -> int:
        return round(34 + gap * index + (gap - _ROW) / 2)

    edges, boxes, told = [], [], []
    for number, (command, pids, access) in enumerate(drawn):
        y = place(number, gap_left)
        boxes.append(_box("process", _LEFT, y, _WIDE, *_label(command, pids)))
        for index, how in access:
            to, start = place(index, gap_right) + _BOX // 2, y + _BOX // 2
            kind = "edge" if "w" in how else "edge open" if how == "fd" else "edge reads"
            middle = (_LEFT + _WIDE + _RIGHT) // 2
            edges.append(f'  <path class="{kind}" d="M{_LEFT + _WIDE} {start}C{middle} {start} {middle} {to} {_RIGHT} {to}"/>\n')
        told.append(f"{' '.join(_label(command, pids))} has "
                    + ", ".join(f"{shown[index].label} ({how})" for index, how in access))
    for index, item in enumerate(shown):
        state = "" if item.state == USED else item.state
        boxes.append(_box(_box_style(item), _RIGHT, place(index, gap_right), _OBJECT_WIDE, item.label, item.size, state))
        if not item.holders:
            told.append(f"{item.label}: {item.state}")
    more = [f"{count} more {what}" for count, what in
            ((len(groups) - len(drawn), "processes"), (len(found) - len(shown), "objects")) if count > 0]
    note = f'  <text class="s e" x="{_WIDTH - 12}" y="{height - 12}">not drawn: {", ".join(more)}</text>\n' if more else ""
    return (f'<svg xmlns="http://www.w3.org/2000/svg" class="sm" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
            f'height="{height}" role="img" aria-labelledby="shmls-title shmls-desc">\n'
            '  <title id="shmls-title">Processes and the shared memory that they have</title>\n'
            f'  <desc id="shmls-desc">{_escaped("; ".join(told) or "No shared memory.")}</desc>\n'
            f'  <style>{_STYLE}</style>\n  <rect class="paper" width="{_WIDTH}" height="{height}"/>\n'
            f'  <text class="b" x="{_LEFT}" y="20">Processes</text>\n  <text class="b" x="{_RIGHT}" y="20">Objects</text>\n'
            + "".join(edges) + "".join(boxes) + _key(height - 12) + note + "</svg>\n")
