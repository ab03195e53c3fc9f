"""The HTML page around a picture: click a row, and see what the kernel had at that moment. It needs no network."""
from __future__ import annotations

import html
import json
from typing import Dict, List

from . import svg
from . import text as in_words
from .rows import Row, Trace

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ margin: 0; font: 14px/1.5 system-ui, "DejaVu Sans", sans-serif; background: light-dark(#fff, #14181f);
  color: light-dark(#1f2430, #e6e9ef) }}
@media (prefers-color-scheme: dark) {{ body {{ background: #14181f; color: #e6e9ef }} }}
main {{ padding: 8px 12px }} h1 {{ position: absolute; width: 1px; height: 1px;
  overflow: hidden; clip-path: inset(50%) }}
.wide {{ display: none }} @media screen and (max-width: 700px) {{ .wide {{ display: block }} }}
.picture {{ overflow-x: auto }} .picture svg {{ display: block; margin: 0 auto }}
g.row {{ cursor: pointer }}
#moment {{ position: sticky; bottom: 0; max-height: 40vh; overflow: auto; margin: 0; padding: 8px 12px; border-top: 2px solid #1767a8;
  background: inherit; font: 12px/1.5 ui-monospace, "DejaVu Sans Mono", monospace; white-space: pre-wrap }}
pre {{ overflow-x: auto; font-size: 12px }}
@media print {{ #moment, details, .how, .wide {{ display: none }} .picture {{ overflow: visible }}
  .picture svg {{ max-width: 100%; height: auto }} }}
</style></head><body><main><h1>{title}</h1>
"""

_WIDE = '<p class="wide">The picture is wider than this window: scroll it sideways. Below it is the same as text.</p>'
_SCRIPT = """
<script>
"use strict";
const moments = JSON.parse(document.getElementById("moments").textContent);
const rows = [...document.querySelectorAll("g.row")], panel = document.getElementById("moment");
function choose(row) {
  rows.forEach(other => other.classList.toggle("chosen", other === row));
  panel.textContent = moments[Number(row.dataset.row)] || "no state was recorded for this row";
  panel.hidden = false;
}
rows.forEach((row, i) => {
  row.setAttribute("tabindex", "0");
  row.setAttribute("role", "button");
  row.addEventListener("click", () => choose(row));
  row.addEventListener("focus", () => choose(row));
  row.addEventListener("keydown", event => {
    const next = rows[i + (event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0)];
    if (next && next !== row) { next.focus(); event.preventDefault(); }
  });
});
</script>
"""


def moment(trace: Trace, number: int) -> str:
    """Returns what the kernel had after a row, as its own files say it."""
    row: Row = trace.rows[number]
    found: List[str] = [f"after row {number + 1}: {row.text}"]
    if row.state is None:
        return found[0]
    names: Dict[int, str] = {pid: lane.name for lane in trace.lanes for pid in lane.pids}
    for item in row.state.items.values():
        name = "" if item.named else "  (no name)"
        found.append("  ".join([f"{item.title}{name}:", *(f"{fact} {value}" for fact, value in item.facts.items())]))
        found += [f"    {field or 'content'} = {value}" for field, value in item.fields.items()]
    for pid, ranges in row.state.ranges.items():
        found.append(f"/proc/{pid}/maps of {names.get(pid, '?')}:")
        found += [f"    {mapping.line}" for mapping, _ in ranges]
    return "\n".join(found)


def page(trace: Trace) -> str:
    """Returns the page of a trace as one HTML document."""
    title = html.escape(trace.title)
    moments = json.dumps([moment(trace, number) for number in range(len(trace.rows))]).replace("<", "\\u003c")
    words = html.escape("\n".join(in_words.lines(trace)))
    how = "<p class=\"how\">Click a row, or move between rows with the arrow keys, to see the kernel's state at that moment.</p>" \
        if any(row.state for row in trace.rows) else ""
    return "".join([_HEAD.format(title=title), how, _WIDE, '<div class="picture">', svg.draw(trace, "text"), "</div>",
                    f"<details><summary>The same as text</summary><pre id=\"text\">{words}</pre></details></main>",
                    '<pre id="moment" hidden aria-live="polite"></pre>',
                    f'<script type="application/json" id="moments">{moments}</script>', _SCRIPT, "</body></html>\n"])


def events(trace: Trace) -> Dict[str, object]:
    """Returns the trace in the JSON of Chrome's tracing: one thread for each lane, microseconds; a stepped row takes 1 ms."""
    found: List[Dict[str, object]] = [
        {"ph": "M", "name": "thread_name", "pid": 1, "tid": i + 1, "args": {"name": f"{lane.name} {lane.about}"}}
        for i, lane in enumerate(trace.lanes)]
    for number, row in enumerate(trace.rows):
        instant: Dict[str, object] = {"s": "g"}
        at = row.seconds * 1e6 if trace.mode == "free" else number * 1000
        found.append({"ph": "i" if row.kind in ("user", "note") else "X", "name": row.text, "cat": row.kind, "pid": 1,
                      "tid": row.lane + 1, "ts": at, **(instant if row.kind in ("user", "note") else {"dur": 900}),
                      "args": {"place": row.place, "changes": [text for _, text in row.notes]}})
    return {"traceEvents": found, "otherData": {"title": trace.title, "mode": trace.mode}}
