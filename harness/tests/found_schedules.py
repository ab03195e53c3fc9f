"""Finds the bad schedules that the stepper shows, with the explorer, in programs with known mistakes.

    python3 harness/tests/found_schedules.py      writes docs/play/found.json; review the changes with `git diff`

For each story of docs/play/stories.json the explorer runs the mistake that the story names, as `make explore` does. Of the
first schedule that ends as the story tells, its steps are followed in the story's model. A step of the model that the
explorer does not see, such as an addition in a register, is taken as soon as it can be.
"""
import json
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples import compile_example  # noqa: E402
from shmlab import gallery, labs  # noqa: E402
from shmlab.explore.search import Search  # noqa: E402
from shmlab.sandbox import box  # noqa: E402
from shmlab.site import stories  # noqa: E402

NAME = "/shmlab-0badf00d"  # is shown as /NAME
MOST_SCHEDULES = 100000


@dataclass
class Context:
    """Where a search runs."""

    lab: labs.Lab
    submission: Path
    box: box.Box
    tier: str = "namespaces"
    cc: str = "cc"


@dataclass
class Hunt:
    """What the explorer runs for a story, and which end is wanted."""

    commands: list
    is_wanted: object
    before: str = ""  # shell commands that prepare the object
    preemptions: int = 1
    deaths: int = 0
    weak: bool = False
    stdin: bytes = b""
    children: bool = False  # the processes of the story are the children of the one that is run
    begins: str = ""  # the step with which the story begins, as a regular expression; empty: the first
    ends: str = "$^"  # the step with which it is over


def lost(end):
    kept = [step.after for step in end.steps if step.kind == "store" and (step.offset, step.size) == (8, 8)]
    return kept[-1:] == [1]


def overwritten(end):
    return end.verdict == "all ended" and end.processes[2].stdout == b"7 1\n1 1\n"


def money_lost(end):
    transfer, first, second = end.processes
    return transfer.killed and first.killed and second.exit_status == 0 and sum(map(int, second.stdout.split()[:2])) != 1000


HUNTS = {
    "lost_update": Hunt([("lost_update", 2, 1)], lost, children=True),
    "start_race": Hunt([("first_comer", NAME, 100), ("first_comer", NAME, 200)],
                       lambda end: any(process.signal == "SIGBUS" for process in end.processes), preemptions=2),
    "slot": Hunt([("producer", NAME, 1, 1), ("producer", NAME, 2, 1), ("consumer", NAME, 2)], overwritten,
                 f"./producer {NAME} 99 1; ./consumer {NAME} 1; ./producer {NAME} 7 8"),
    "robust": Hunt([("robust_mutex", NAME, "transfer", 200), ("robust_mutex", NAME, "show"), ("robust_mutex", NAME, "show")],
                   money_lost, f"./robust_mutex {NAME} show", preemptions=0, deaths=2),
    "fence": Hunt([("ring_send", NAME, 4), ("ring_recv", NAME)],
                  lambda end: end.overslept > 0 and all(process.exit_status == 0 for process in end.processes),
                  weak=True, stdin=b"ab\n", begins="store .*sent: 7 → 8", ends="ETIMEDOUT"),
}


def search(story, hunt, directory):
    """Returns the search and the first end that is wanted, and the number of schedules run up to there."""
    mistake = next(one for one in gallery.mistakes() if str(one) == story.variants[0].mistake)
    submission = mistake.apply(directory)
    with box.Box("namespaces") as inside:
        for source in sorted((submission / mistake.lab.name).glob("*.c")):
            assert compile_example(source, directory / source.stem).returncode == 0
            inside.put(source.stem, (directory / source.stem).read_bytes(), 0o755)
        shell = inside.start(["/bin/sh", "-c", hunt.before or "true"])
        assert inside.wait(shell, 10), f"{hunt.before} does not end"
        looking = Search(Context(mistake.lab, submission, inside), story.ident, hunt.commands, hunt.preemptions, hunt.deaths,
                         schedules=MOST_SCHEDULES, seconds=60, weak=hunt.weak)
        looking.inputs = {0: hunt.stdin}
        for end in looking.ends():
            if hunt.is_wanted(end):
                return looking, end, looking.listing(end)
    raise SystemExit(f"{story.ident}: no schedule ends so: {looking.summary or looking.unavailable}")


def follow(variant, hunt, end, listing):
    """Returns the schedule of the model that the steps of an end make."""
    state, schedule, begun = variant.start, "", False
    for step in end.steps:
        index, cell = step.process - int(hunt.children), listing.cell(step)[0]
        begun = begun or bool(re.search(hunt.begins, cell))
        if not begun or not 0 <= index < len(state.processes):
            continue
        process = state.processes[index]
        if "is killed by signal 9" in cell:
            action = "XYZ"[index]
        elif step.kind == "visible":
            action = process.name.lower()
        else:
            line = None if process.end else process.lines[process.next]
            action = process.name if line and line.found and re.search(line.found, cell) else ""
        if not action or action not in variant.actions(state):
            continue
        state, schedule = variant.act(state, action), schedule + action
        while not state.processes[index].end and not state.processes[index].lines[state.processes[index].next].found:
            state, schedule = variant.act(state, process.name), schedule + process.name
    return schedule


def find(story, directory):
    """Returns what is shown of a story: the schedule in the model, and the explorer's listing."""
    hunt, variant = HUNTS[story.ident], story.variants[0]
    looking, end, listing = search(story, hunt, directory)
    schedule = follow(variant, hunt, end, listing)
    head, *lines = listing.lines(len(end.steps) + 2)
    first = next(at for at, line in enumerate(lines) if re.search(hunt.begins, line))
    last = next((at + 1 for at, line in enumerate(lines) if re.search(hunt.ends, line)), None)
    return {"schedule": schedule, "bound": looking.bound, "number": end.number,
            "listing": [head, *(["     (and %d steps before)" % first] if first else []), *lines[first:last]]}


def main():
    found = {}
    for story in stories.stories():
        with tempfile.TemporaryDirectory() as directory:
            found[story.ident] = find(story, Path(directory))
    stories.FOUND.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
