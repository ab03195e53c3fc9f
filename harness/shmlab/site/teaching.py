"""What the instructor's edition has besides the students': how long a lab takes, and the slides, from docs/teaching.md."""
from __future__ import annotations

import difflib
import html
import re
from typing import Dict, List

from ..labs import ROOT, SOLUTIONS, Lab, all_labs

#: Estimates; docs/teaching.md has them in words.
WORDS_A_MINUTE, MINUTES_A_LINE, MINUTES_A_CHECK = 100, 4, 3

#: Up to so many hours a lab has one dot, two dots, and so on.
HOURS = (1.5, 2.5, 3.5, 4.5)


def lines_to_write(lab: Lab) -> int:
    """Returns how many lines the solution has that the skeleton has not, without blank ones."""
    count = 0
    for skeleton in lab.directory.glob("*.[ch]"):
        before, after = (path.read_text(encoding="utf-8").splitlines() for path in (skeleton, SOLUTIONS / lab.name / skeleton.name))
        count += sum(line.startswith("+ ") and bool(line[2:].strip()) for line in difflib.ndiff(before, after))
    return count


def words_to_read(lab: Lab) -> int:
    """Returns how many words the handout has."""
    return len(re.findall(r"\w[\w'-]*", lab.handout))


def hours(lab: Lab) -> float:
    """Returns an estimate of the hours that a student needs for a lab."""
    minutes = (words_to_read(lab) / WORDS_A_MINUTE + MINUTES_A_LINE * lines_to_write(lab)
               + MINUTES_A_CHECK * len(lab.checks()))
    return minutes / 60


def difficulty(needed: float) -> str:
    """Returns the difficulty of a lab that needs so many hours: five dots, of which the filled ones count."""
    filled = 1 + sum(needed > limit for limit in HOURS)
    return "\u25cf" * filled + "\u25cb" * (len(HOURS) + 1 - filled)


def effort_table() -> str:
    """Returns a Markdown table with what is measured of each lab, and the estimate."""
    rows = ["| lab | words to read | lines to write | checks | hours, estimated | difficulty |", "|---|---|---|---|---|---|"]
    needed = {lab: hours(lab) for lab in all_labs()}
    for lab, some in needed.items():
        rows.append(f"| [{lab.number} {lab.title}](../labs/{lab.name}/README.md) | {words_to_read(lab)} | {lines_to_write(lab)} | "
                    f"{len(lab.checks())} | {some:.1f} | {difficulty(some)} |")
    return "\n".join([*rows, f"| all | | | | {sum(needed.values()):.0f} | |"])


def outcomes() -> Dict[str, List[str]]:
    """Returns for each lab's number the three lines of docs/teaching.md that say what it teaches."""
    text = (ROOT / "docs" / "teaching.md").read_text(encoding="utf-8")
    found = re.findall(r"^### Lab (\d\d)\n\n((?:- .*\n(?:  .*\n)*)+)", text, re.M)
    return {number: [" ".join(line.split()) for line in re.findall(r"^- (.*(?:\n  .*)*)", lines, re.M)] for number, lines in found}


_STYLE = """
:root{color-scheme:light dark}
body{margin:0;font:28px/1.35 system-ui,sans-serif;background:Canvas;color:CanvasText}
section{box-sizing:border-box;min-height:100vh;padding:4vh 5vw;display:flex;flex-direction:column;gap:2vh}
h1{font-size:1.5em;margin:0}
section>svg{flex:1 1 0;min-height:0;max-height:58vh;width:100%}
ul{margin:0;padding-left:1.2em}
code{font-family:ui-monospace,monospace;font-size:.92em}
@media(max-width:700px){body{font-size:18px}}
@media print{@page{size:297mm 167mm;margin:0}section{break-after:page;height:167mm}}
"""

#: The next slide by an arrow key, the space bar or Page Down, as presenters send it.
_SCRIPT = """
addEventListener('keydown', event => {
  const step = {ArrowRight: 1, ArrowDown: 1, PageDown: 1, ' ': 1, ArrowLeft: -1, ArrowUp: -1, PageUp: -1}[event.key];
  if (!step) return;
  event.preventDefault();
  const slides = [...document.querySelectorAll('section')];
  const at = slides.findIndex(slide => slide.getBoundingClientRect().bottom > 1);
  slides[Math.max(0, Math.min(slides.length - 1, at + step))].scrollIntoView();
});
"""


def slides() -> str:
    """Returns an HTML page with one slide for each lab: its title, its figure and the lines of outcomes()."""
    lines, parts = outcomes(), []
    for lab in all_labs():
        shown = "".join("<li>" + re.sub(r"`(.*?)`", r"<code>\1</code>", html.escape(line)) + "</li>" for line in lines[lab.number])
        figure = (ROOT / "docs" / "figures" / f"{lab.name}.svg").read_text(encoding="utf-8")
        figure = re.sub(r"<\?xml.*?\?>", "", figure)
        parts.append(f'<section id="lab_{lab.number}"><h1>{lab.number} {html.escape(lab.title)}</h1>{figure}<ul>{shown}</ul></section>\n')
    return ('<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Shared Memory Lab: slides</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<style>{_STYLE}</style></head><body><main>\n{''.join(parts)}</main><script>{_SCRIPT}</script></body></html>\n")
