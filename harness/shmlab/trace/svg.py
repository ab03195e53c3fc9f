"""Draws a trace: time goes down, a lane for each process, and what the kernel has in between or beside."""
from __future__ import annotations

import html
import textwrap
from typing import Dict, List, Optional, Tuple

from . import text as in_words
from .rows import MODES, Row, Trace
from .state import Key

# The colours and fonts of docs/figures. A page may set its own through the variables.
STYLE = """
.st { --ink: var(--figure-ink, #1f2430); --soft: var(--figure-soft, #59626f); --paper: var(--figure-paper, #fff);
  --line: var(--figure-line, #838d9b); --shared: var(--figure-shared, #d3e8fd); --shared-line: var(--figure-shared-line, #1767a8);
  --name: var(--figure-name, #fdeec6); --name-line: var(--figure-name-line, #97640a); --bad-line: var(--figure-bad-line, #b3261e);
  --guide: var(--figure-process, #f2f4f7); color: var(--ink); font: 12px/1 system-ui, "DejaVu Sans", sans-serif }
@media (prefers-color-scheme: dark) {
  .st { --ink: var(--figure-ink, #e6e9ef); --soft: var(--figure-soft, #a7b0bd); --paper: var(--figure-paper, #14181f);
    --line: var(--figure-line, #78828f); --shared: var(--figure-shared, #0f3a5e); --shared-line: var(--figure-shared-line, #6cb6f5);
    --name: var(--figure-name, #45360f); --name-line: var(--figure-name-line, #dfae4a); --bad-line: var(--figure-bad-line, #ff8f86);
    --guide: var(--figure-process, #1f252e) }
}
.st text { fill: currentColor }
.st .m { font: 11px ui-monospace, "DejaVu Sans Mono", monospace }
.st .s { fill: var(--soft); font-size: 10px } .st .b { font-weight: 600 } .st .h { font-size: 14px; font-weight: 600 }
.st .c { text-anchor: middle } .st .e { text-anchor: end }
.st .bad { fill: var(--bad-line) } .st .late { fill: var(--name-line) } .st .note { fill: var(--shared-line); font-size: 11px }
.st .paper { fill: var(--paper) } .st .guide { stroke: var(--guide) }
.st .object { fill: var(--shared); stroke: var(--shared-line); stroke-width: 1.5 }
.st .unnamed { stroke-dasharray: 5 4; fill-opacity: .45 }
.st .band { fill: var(--shared); stroke: var(--shared-line); stroke-width: 1 }
.st .life { stroke: var(--ink); stroke-width: 2.5 } .st .sleep { stroke: var(--paper); stroke-width: 2.5; stroke-dasharray: 3 4 }
.st .wake { fill: none; stroke: var(--name-line); stroke-width: 1.6 }
.st .halo { paint-order: stroke; stroke: var(--paper); stroke-width: 4px }
.st .in { paint-order: stroke; stroke: var(--shared); stroke-width: 4px }
.st .user { fill: var(--name); stroke: var(--name-line) } .st .reach { fill: none; stroke: var(--line) }
.st .dot { fill: var(--ink) } .st .dot.bad { fill: var(--bad-line) } .st .dot.late { fill: var(--name-line) }
.st .cross { fill: none; stroke: var(--ink); stroke-width: 2.5 } .st .cross.bad { stroke: var(--bad-line) }
.st g.row:hover .guide, .st g.row.chosen .guide { stroke: var(--line) }
"""
CHARACTER, BOLD, HEAD_CHARACTER = 6.75, 7.6, 9.0  # pixels of one in a row, and in a head
SMALL = 5.7  # pixels of a character of the text below the title
LINE, SMALL_LINE, GAP, HEAD = 14, 13, 10, 96
WIDTHS = 180, 480, 320  # of a lane: at least; at most, if there are one or two; at most, if there are more
NUMBERS = 40  # pixels for the numbers of the rows
_REACHES = ("shm_open", "shmget", "ftruncate", "posix_fallocate", "shm_unlink", "shmctl", "memfd_create", "open")


class _Object:
    """The box of one thing: where it begins, where it loses its name, where it ends; None for the end of the picture."""

    def __init__(self, slot: int, begin: int, title: str, facts: str) -> None:
        self.slot, self.begin, self.title, self.facts = slot, begin, title, facts
        self.unnamed: Optional[int] = None
        self.end: Optional[int] = None


class Picture:
    """Computes where everything is, then draws it. Lengths are in pixels."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self._rows = trace.rows
        count = max(1, len(trace.lanes))
        self._wakers = {row.woken_by for row in self._rows}
        self._objects = self._find_objects()
        slots = 1 + max([item.slot for item in self._objects.values()], default=0)
        self._around = count <= 2  # the kernel is drawn between two lanes
        has_kernel = any(row.state for row in self._rows)
        self._widths = [self._width_of(i) for i in range(count)]
        self._object_width = (220 if slots == 1 else 190) if has_kernel else 0
        self._bridge = 52 if has_kernel else 30
        first = NUMBERS + self._widths[0]
        if self._around:
            self._kernel_at: float = first + self._bridge
            kernel_width = slots * self._object_width + (slots - 1) * 14 if has_kernel else 0
            right = self._kernel_at + kernel_width + self._bridge
            self._life = [float(first), float(right)][:count]
            self.width = int(right + (self._widths[1] if count == 2 else 20)) if has_kernel or count == 2 else int(first + 30)
        else:
            self._life = [float(NUMBERS + sum(self._widths[:i + 1]) + i * 16) for i in range(count)]
            self._kernel_at = self._life[-1] + 50
            self.width = int(self._kernel_at + slots * self._object_width + (slots - 1) * 14 + 16)
        self._bridged = self._around and slots == 1
        self._mode = textwrap.wrap(MODES[trace.mode], int((self.width - 24) / SMALL))
        self._head = HEAD + SMALL_LINE * (len(self._mode) - 1)
        self._place_rows()

    # ---- layout

    def _find_objects(self) -> Dict[Key, _Object]:
        found: Dict[Key, _Object] = {}
        for number, row in enumerate(self._rows):
            if row.state is None:
                continue
            for key, item in row.state.items.items():
                if key not in found:
                    used = {other.slot for other in found.values() if other.end is None}
                    slot = next(i for i in range(len(used) + 1) if i not in used)
                    found[key] = _Object(slot, number, item.title, "  ".join(f"{name} {value}" for name, value in item.facts.items()))
                    if not item.named:
                        found[key].unnamed = number
                elif not item.named and found[key].unnamed is None:
                    found[key].unnamed = number
            for key, box in found.items():
                if key not in row.state.items and box.end is None:
                    box.end = number
        return found

    def _width_of(self, lane: int) -> float:
        """The room for the texts of a lane: as much as the longest needs, within bounds."""
        rows = [row for row in self._rows if row.lane == lane]
        longest = max((CHARACTER * len(row.text) + 5.6 * len(self._place(row)) for row in rows), default=0.0)
        return max(WIDTHS[0], min(WIDTHS[1] if self._around else WIDTHS[2], longest + 40))

    def _place(self, row: Row) -> str:
        """The place of a row in the source, without the name of the file that is the lane's program."""
        file, _, number = row.place.partition(":")
        own = {self.trace.lanes[i].name for i in (row.lane, self.trace.lanes[row.lane].root)} if row.lane >= 0 else set()
        return number if file[:-2] in own else row.place

    def _wrapped(self, row: Row) -> List[str]:
        room = self._widths[row.lane] if row.lane >= 0 else self.width - NUMBERS - 20
        each = BOLD if row.kind in ("end", "note") else CHARACTER
        width = int((room - 18 - (5.6 * len(self._place(row)) + 10 if row.place else 0)) / each)
        return textwrap.wrap(row.text, max(20, width), subsequent_indent="  ", break_on_hyphens=False)[:5] or [""]

    def _place_rows(self) -> None:
        self._y: List[int] = []
        self._lines = [self._wrapped(row) for row in self._rows]
        y = self._head
        for number, row in enumerate(self._rows):
            begins = any(item.begin == number for item in self._objects.values())
            notes: Dict[Key, int] = {}
            for key, _ in row.notes:
                notes[key] = notes.get(key, 0) + 1
            lines = max(len(self._lines[number]), 3 if begins else 1, max(notes.values(), default=0))
            self._y.append(y)
            y += lines * LINE + GAP
        self.bottom = y
        self.height = y + 18

    def _is_left(self, lane: int) -> bool:
        return not self._around or lane == 0

    def _object_x(self, slot: int) -> float:
        return self._kernel_at + slot * (self._object_width + 14)

    # ---- drawing

    def draw(self, described_by: str = "") -> str:
        """Returns the picture as an SVG document, which holds itself as text unless the page has that under this id."""
        text_id = described_by or "trace-desc"
        words = "" if described_by else (
            f'<desc id="{text_id}">{html.escape(chr(10).join(in_words.lines(self.trace)))}</desc>')
        out = [f'<svg xmlns="http://www.w3.org/2000/svg" class="st" viewBox="0 0 {self.width} {self.height}" width="{self.width}" '
               f'height="{self.height}" role="img" aria-label="{html.escape(self.trace.title)}" aria-describedby="{text_id}">',
               words, f"<style>{STYLE}</style>",
               f'<rect class="paper" width="{self.width}" height="{self.height}"/>',
               f'<text class="b" x="12" y="20">{html.escape(self.trace.title)}</text>']
        out += [f'<text class="s" x="12" y="{36 + SMALL_LINE * i}">{html.escape(line)}</text>' for i, line in enumerate(self._mode)]
        out += self._heads()
        out += [f'<line class="guide" x1="8" x2="{self.width - 8}" y1="{y - 15}" y2="{y - 15}"/>' for y in self._y[1:]]
        out += self._mappings()
        out += self._boxes()
        out += self._lives()
        out += self._wakes()
        for number in range(len(self._rows)):
            out += self._row(number)
        return "\n".join([*out, "</svg>"])

    def _heads(self) -> List[str]:
        out = []
        for i, lane in enumerate(self.trace.lanes):
            left = self._is_left(i)
            x, end = self._life[i] + (-12 if left else 12), " e" if left else ""
            about = textwrap.shorten(lane.about, int(self._widths[i] / CHARACTER) - 4, placeholder=" …")
            fits = int((self._widths[i] - 12) / HEAD_CHARACTER)
            name = lane.name if len(lane.name) <= fits else lane.name.partition(" of ")[0][:fits]
            out += [f'<text class="h{end}" x="{x}" y="{self._head - 38}">{html.escape(name)}</text>',
                    f'<text class="m s{end}" x="{x}" y="{self._head - 22}">{html.escape(about)}</text>']
        if self._object_width:
            x = self._kernel_at + self._object_width / 2
            out.append(f'<text class="h c" x="{x}" y="{self._head - 38}">the kernel has</text>')
        return out

    def _spans(self) -> List[Tuple[int, Key, int, int, str]]:
        """Each mapping: its lane, what it is of, its first row and the row after its last, its permissions."""
        lane_of = {pid: i for i, lane in enumerate(self.trace.lanes) for pid in lane.pids}
        begun: Dict[Tuple[int, Key], Tuple[int, str]] = {}
        spans = []
        for number, row in enumerate(self._rows):
            if row.state is None:
                continue
            for mapped, flags in row.state.mapped.items():
                begun.setdefault(mapped, (number, flags))
            for mapped in [one for one in begun if one not in row.state.mapped]:
                begin, flags = begun.pop(mapped)
                spans.append((lane_of.get(mapped[0], -1), mapped[1], begin, number, flags))
        spans += [(lane_of.get(pid, -1), key, begin, len(self._rows), flags) for (pid, key), (begin, flags) in begun.items()]
        return spans

    def _at(self, number: int) -> int:
        return self._y[number] if number < len(self._y) else self.bottom

    def _mappings(self) -> List[str]:
        out = []
        for lane, key, begin, end, flags in self._spans():
            if lane < 0 or key not in self._objects:
                continue
            top, bottom, x = self._at(begin) - 8, self._at(end) - 8, self._life[lane]
            slot = self._objects[key].slot
            if self._bridged:
                left, right = (x, self._kernel_at) if lane == 0 else (self._kernel_at + self._object_width, x)
                out.append(f'<rect class="band" x="{left}" y="{top}" width="{right - left}" height="{max(6, bottom - top)}"/>'
                           f'<text class="s c" x="{(left + right) / 2}" y="{top + 14}">mapped</text>'
                           f'<text class="s c m" x="{(left + right) / 2}" y="{top + 26}">{flags[:2]}</text>')
            else:
                side = x + 4 + 9 * slot if self._is_left(lane) else x - 12 - 9 * slot
                out.append(f'<rect class="band" x="{side}" y="{top}" width="8" height="{max(6, bottom - top)}">'
                           f"<title>{html.escape(self._objects[key].title)} {flags[:2]}</title></rect>")
        return out

    def _boxes(self) -> List[str]:
        out = []
        for item in self._objects.values():
            x, width, top = self._object_x(item.slot), self._object_width, self._y[item.begin] - 11
            last = self.bottom if item.end is None else self._y[item.end] - 8
            middle = last if item.unnamed is None else self._y[item.unnamed] - (11 if item.unnamed == item.begin else 8)
            if middle > top:
                out.append(f'<rect class="object" x="{x}" y="{top}" width="{width}" height="{middle - top}"/>')
            if last > middle:
                out.append(f'<rect class="object unnamed" x="{x}" y="{middle}" width="{width}" height="{last - middle}"/>')
            out += [f'<text class="m b c" x="{x + width / 2}" y="{top + 15}">'
                    f"{html.escape(textwrap.shorten(item.title, int(width / CHARACTER), placeholder='…'))}</text>",
                    f'<text class="note c" x="{x + width / 2}" y="{top + 29}">{html.escape(item.facts)}</text>']
        return out

    def _lives(self) -> List[str]:
        out = []
        for i in range(len(self.trace.lanes)):
            mine = [number for number, row in enumerate(self._rows) if row.lane == i and row.kind != "fold"]
            if not mine:
                continue
            x, begin = self._life[i], mine[0]
            for number, after in zip(mine, [*mine[1:], -1]):
                if after < 0 or self._rows[number].kind == "end":
                    out.append(f'<line class="life" x1="{x}" x2="{x}" y1="{self._y[begin]}" y2="{self._y[number]}"/>')
                    begin = after
            for number in mine:
                slept = self._rows[number].waited_from
                if slept is None:
                    continue
                top, bottom = self._y[slept] + 5, self._y[number] - 5
                out.append(f'<line class="sleep" x1="{x}" x2="{x}" y1="{top}" y2="{bottom}"/>')
                call = self._rows[number].text.replace("syscall(SYS_futex", "futex(").partition("(")[0]
                asleep = f"asleep in {call}" if self._rows[number].kind == "call" else "asleep"
                if bottom - top < 5 * len(asleep) + 8:
                    asleep = "asleep"
                if bottom - top > 44:
                    side = x + (-6 if not self._is_left(i) else 10)
                    out.append(f'<text class="s c" transform="translate({side} {(top + bottom) / 2}) rotate(-90)">{asleep}</text>')
        return out

    def _wakes(self) -> List[str]:
        out = []
        for number, row in enumerate(self._rows):
            by = row.woken_by
            if by is None or row.lane < 0:
                continue
            begin, x2, y2 = self._rows[by], self._life[row.lane], self._y[number]
            if begin.lane < 0 or begin.lane == row.lane:
                continue
            x1, y1 = self._life[begin.lane], self._y[by]
            side = 1 if x2 > x1 else -1
            out.append(f'<path class="wake" d="M{x1 + 6 * side} {y1} L{x2 - 7 * side} {y2} m{-9 * side} -5 l{9 * side} 5 l{-9 * side} 4"/>')
            part = 0.08 if self._around else 0.5
            if row.woken_for:
                out.append(f'<text class="s b late halo c" x="{x1 + part * (x2 - x1)}" y="{y1 + part * (y2 - y1) - 5}">'
                           f"{html.escape(row.woken_for)}</text>")
        return out

    def _margin(self, row: Row, number: int) -> str:
        """What stands beside a row: its number, or its time in milliseconds where that means something."""
        return str(number + 1) if self.trace.mode != "free" else f"{1000 * row.seconds:.1f}" if row.kind == "call" else ""

    def _row(self, number: int) -> List[str]:
        row, y = self._rows[number], self._y[number]
        out = [f'<g class="row" data-row="{number}"><line class="guide" x1="8" x2="{self.width - 8}" y1="{y - 15}" y2="{y - 15}"/>',
               f'<text class="s e" x="{NUMBERS - 14}" y="{y + 4}">{self._margin(row, number)}</text>']
        style = " late" if row.timed_out else " bad" if row.failed else ""
        left = self._is_left(row.lane)
        if row.lane >= 0:
            x = self._life[row.lane] + (-12 if left else 12)
        else:
            x, left = NUMBERS + 8, False
        end = " e" if left else ""
        if row.kind in ("user", "fold") or row.lane < 0:
            width = (BOLD if row.kind == "note" else CHARACTER) * max(map(len, self._lines[number])) + 16
            box = x - width if left else x
            out.append(f'<rect class="user" x="{box}" y="{y - 11}" width="{width}" height="{len(self._lines[number]) * LINE + 8}" rx="4"/>')
            x += -8 if left else 8
        for i, line in enumerate(self._lines[number]):
            place = f'<tspan class="s" dx="{0 if left else 8}">{html.escape(self._place(row))}</tspan>' if row.place and i == 0 else ""
            kind, gap = "b" if row.kind in ("end", "note") else "m", 8 if left and place else 0
            body = f'<tspan class="{kind}{style}" dx="{gap}">{html.escape(line)}</tspan>'
            words = place + body if left else body + place
            halo = " halo" if number in self._wakers else ""  # an arrow begins there
            out.append(f'<text class="{(end + halo).strip()}" xml:space="preserve" x="{x}" y="{y + 4 + i * LINE}">{words}</text>')
        if row.lane >= 0 and row.kind == "call":
            out += [f'<circle class="dot{style}" cx="{self._life[row.lane]}" cy="{y}" r="4"/>', *self._reach(row, number)]
        elif row.lane >= 0 and row.kind == "end":
            out.append(f'<path class="cross{style}" d="M{self._life[row.lane] - 6} {y - 6} l12 12 m-12 0 l12 -12"/>')
        return [*out, *self._notes(row, number), "</g>"]

    def _reach(self, row: Row, number: int) -> List[str]:
        """An arrow from a call to what it is about."""
        if not self._around or not self._object_width or row.text.partition("(")[0] not in _REACHES:
            return []
        named = row.text.partition('"')[2].partition('"')[0]
        there = [item for key, item in self._objects.items() if item.begin <= number and (item.end is None or number <= item.end)
                 and (item.begin == number or item.end == number or key in dict(row.notes) or (named and item.title.endswith(named)))]
        if not there:
            return []
        y, x, at = self._y[number], self._life[row.lane], self._object_x(there[-1].slot)
        side, to = (1, at) if row.lane == 0 else (-1, at + self._object_width)
        return [f'<path class="reach" d="M{x + 6 * side} {y} L{to - side} {y} m{-6 * side} -4 l{6 * side} 4 l{-6 * side} 4"/>']

    def _notes(self, row: Row, number: int) -> List[str]:
        out, used = [], {}  # type: ignore[var-annotated]
        for key, note in row.notes:
            item = self._objects.get(key)
            if item is None:
                continue
            line = used[key] = used.get(key, -1) + 1
            bad = " bad b" if "removed" in note or "gone" in note else ""
            x = self._object_x(item.slot) + self._object_width / 2
            room = int(self._object_width / 6.2)
            shown = note if len(note) <= room else note[:room - 1] + "…"
            around = " in" if item.end != number else " halo"
            out.append(f'<text class="note c{around}{bad}" x="{x}" y="{self._y[number] + 4 + line * LINE}">'
                       f"{html.escape(shown)}</text>")
        return out


def draw(trace: Trace, described_by: str = "") -> str:
    """Returns the picture of a trace as an SVG document; `described_by` is the id of the same as text, if a page has it."""
    return Picture(trace).draw(described_by)
