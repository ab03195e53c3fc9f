"""The picture as text: a column for each process, and one for what has changed in the kernel."""
from __future__ import annotations

import textwrap
from typing import List

from .rows import MODES, Row, Trace

_NUMBER, _LEAST, _CHANGES = 4, 26, 34  # columns of a terminal


def _cell(row: Row) -> str:
    mark = {"end": "■ ", "user": "» ", "note": "! " if row.failed else ""}.get(row.kind, "")
    woken = f" [woken by {row.woken_by + 1}]" if row.woken_by is not None else " [had slept]" if row.waited_from is not None else ""
    place = f"{row.place.partition(':')[2]} " if row.place else ""
    return f"{place}{mark}{row.text}{woken}"


def appeared(trace: Trace, number: int) -> List[str]:
    """The things that are there for the first time in a row, with what the kernel tells of them."""
    row, before = trace.rows[number], trace.rows[number - 1].state if number else None
    if row.state is None:
        return []
    return [", ".join([f"+ {item.title}", *(f"{name} {value}" for name, value in item.facts.items())])
            for key, item in row.state.items.items() if before is None or key not in before.items]


def lines(trace: Trace, width: int = 150) -> List[str]:
    """Returns the lines of a trace, at most `width` columns wide as far as that is possible."""
    kernel = any(row.state for row in trace.rows)
    count = max(1, len(trace.lanes))
    wide = max(_LEAST, (width - _NUMBER - (_CHANGES + 3 if kernel else 0)) // count - 3)
    found = [trace.title, MODES[trace.mode], ""]
    heads = [textwrap.shorten(f"{lane.name}  {lane.about}", wide, placeholder="…") for lane in trace.lanes]
    found.append(" " * _NUMBER + " | ".join([f"{head:<{wide}}" for head in heads] + (["the kernel has"] if kernel else [])))
    for number, row in enumerate(trace.rows):
        cells = [[""] for _ in range(count)]
        said = textwrap.wrap(_cell(row), wide if row.lane >= 0 else count * (wide + 3) - 3, subsequent_indent="  ") or [""]
        if row.lane >= 0:
            cells[row.lane] = said
        changed = [*appeared(trace, number), *(text for _, text in row.notes)]
        notes = [line for note in changed for line in textwrap.wrap(note, _CHANGES, subsequent_indent="  ")]
        for i in range(max(len(said), len(notes), 1)):
            head = f"{number + 1:>3} " if i == 0 else " " * _NUMBER
            if row.lane < 0:
                body = f"{said[i] if i < len(said) else '':<{count * (wide + 3) - 3}}"
            else:
                body = " | ".join(f"{cell[i] if i < len(cell) else '':<{wide}}" for cell in cells)
            found.append((head + body + (f" | {notes[i]}" if i < len(notes) else "")).rstrip())
    return found
