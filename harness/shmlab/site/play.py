"""The pages to play with: where a page's script puts its controls, and the stepper's stories in words.

A page of docs/ has `<!-- play: NAME -->` where the controls go. docs/theme/NAME.js makes them; without JavaScript the page
has the words alone. `<!-- play: stories -->` is where the stepper's go. The other scripts read what they show from the page.
"""
from __future__ import annotations

import json
from typing import Any, Dict, Iterator, List, Tuple

from ..labs import all_labs
from .stories import FOUND, STORIES, State, Story, Variant, stories

STORIES_HERE = "<!-- play: stories -->"
LABELS = {"stepper": "The stepper", "which": "The questions", "lifetime": "The slider", "address": "From pointer to page"}

# The labs whose handouts link to a page; those of the stepper are in its stories.
LABS = {"lifetime": ("How long does it live?", ("05", "07", "08", "10")), "address": ("From pointer to page", ("01", "02", "17"))}


def links(lab: str) -> List[Tuple[str, str]]:
    """Returns the titles and addresses of what there is to play with for a lab."""
    found = [(story.title, f"stepper.html#{story.ident}") for story in stories() if story.lab == lab]
    return found + [(title, f"{page}.html") for page, (title, labs) in LABS.items() if lab in labs]


def data(ident: str, value: Any) -> str:
    """Returns an element that holds data for a script; neither HTML nor Doxygen finds anything in it to interpret."""
    text = json.dumps(value, separators=(",", ":"))
    for letter in "<>&/@":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return f'<script type="application/json" id="{ident}">{text}</script>'


def controls(name: str) -> str:
    """Returns the HTML of the controls of a page."""
    more = ""
    if name == "stepper":
        found = json.loads(FOUND.read_text(encoding="utf-8"))
        more = data("stepper_data", {"stories": json.loads(STORIES.read_text(encoding="utf-8")),
                                     "found": {ident: one["schedule"] for ident, one in found.items()}})
    return (f'<link rel="stylesheet" href="play.css"><div class="play" id="{name}" role="group" tabindex="-1" '
            f'aria-label="{LABELS[name]}"></div>{more}<script src="{name}.js"></script>')


# ---- the stepper in words ---------------------------------------------------------------------------------


def counted(variant: Variant) -> Tuple[int, Dict[Tuple[bool, str], int]]:
    """Returns the number of all schedules, and how many come to each end."""
    ends: Dict[Tuple[bool, str], int] = {}
    for _, state in variant.schedules():
        end = variant.end(state)
        ends[end] = ends.get(end, 0) + 1
    return sum(ends.values()), ends


def told(variant: Variant, schedule: str) -> Iterator[Tuple[str, str, State]]:
    """Yields for each action of a schedule the process, the action in words, and the state after it."""
    state = variant.start
    for action in schedule:
        index = "ABC".index(action.upper()) if action not in "XYZ" else "XYZ".index(action)
        process = state.processes[index]
        what = ("is killed" if action in "XYZ" else process.lines[process.next].words if action.isupper()
                else f"the store of {process.buffer[0][0]} leaves the store buffer")
        state = variant.act(state, action)
        yield process.name, what, state


def _table(head: List[str], rows: List[List[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n" + "".join("| " + " | ".join(cells) + " |\n" for cells in lines) + "\n"


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


def _story(story: Story, found: Dict[str, Any]) -> str:
    """Returns a story in words: the code, how many schedules are wrong, and one of these step by step."""
    lab = next(lab for lab in all_labs() if lab.number == story.lab)
    text = [f"### {story.title} {{#{story.ident}}}\n\n{story.about} It is the subject of "
            f"[lab {story.lab}](../labs/{lab.name}/README.md).\n"]
    for variant in story.variants:
        number, ends = counted(variant)
        wrong = sum(count for (bad, _), count in ends.items() if bad)
        lines: Dict[str, List[str]] = {}
        for process in variant.start.processes:
            lines.setdefault("<br>".join(_code(line.words) for line in process.lines), []).append(process.name)
        text.append(f"\n**{variant.title[:1].upper() + variant.title[1:]}**: {wrong} of {number} schedules are wrong.\n")
        text.append(_table(["process", "lines"], [[" and ".join(names), code] for code, names in lines.items()]))
        text += [f"- {count} {'schedule' if count == 1 else 'schedules'}: {end}\n" for (_, end), count in ends.items()]
    rows = [[str(at), name, _code(what), ", ".join(f"`{cell}` {story.shown(cell, state)}" for cell in story.show)]
            for at, (name, what, state) in enumerate(told(story.variants[0], found["schedule"]), 1)]
    text.append("\nA wrong schedule of the first code, step by step:\n")
    text.append(_table(["step", "process", "what it does", "memory after it"], rows))
    text.append(f"`make explore LAB={story.lab}` found it in a program with this mistake, as schedule {found['number']} of a search with "
                f"{found['bound']}. Its listing, see [Every schedule](schedules.md):\n\n```text\n")
    return "".join([*text, *(f"{line}\n" for line in found["listing"]), "```\n\n"])


def words() -> str:
    """Returns the stepper's stories in words, as Markdown of a page in docs/."""
    found = json.loads(FOUND.read_text(encoding="utf-8"))
    return "".join(_story(story, found[story.ident]) for story in stories())
