"""Prints the feedback for a student, and collects what it says about a failure.

For each check it is the check's sentence and score, as soon as the check ends. After the last check it is each cause of the
failures: what was expected, what the kernel showed, which calls the program made, where to read on, and how to reproduce it by
hand. It is never a traceback.
"""
from __future__ import annotations

import errno
import os
import re
import shlex
import shutil
import sys
import textwrap
from typing import Dict, List, Optional, Sequence, TextIO, Tuple

from ..sandbox.build import compile_command
from ..sandbox.source_lines import source_lines
from ..explore.listing import MOST_LINES
from ..sandbox.calls import Call, with_places
from ..labs import Lab, submitted_directory
from . import causes
from .environment import SHORT_TEXT, shell_bytes
from .fixture import LabFixture
from .program import Program
from ..results import ERROR, FAILED, PASSED, Outcome, explored_text, plain

_STYLES = {"green": "32", "red": "31", "yellow": "33", "bold": "1", "faint": "2"}
_SPY_EVENTS = ("start", "end")  # records that are not calls
_WORDS = {PASSED: ("pass", "green"), FAILED: ("FAIL", "red"), ERROR: ("ERROR", "yellow")}
MAX_CALLS = 12  # shown for a failure
MAX_ROWS = 38  # of the screen, for one cause
MAX_ERROR_LINES = 12  # of the compiler


class TerminalText:
    """Writes the feedback to a stream: coloured on a terminal, plain text elsewhere."""

    def __init__(self, stream: Optional[TextIO] = None) -> None:
        self.stream = stream or sys.stdout
        self.colour = bool(getattr(self.stream, "isatty", lambda: False)()) and "NO_COLOR" not in os.environ \
            and os.environ.get("TERM") != "dumb"
        size = shutil.get_terminal_size((110, 24))
        self.width, self.height = max(60, min(size.columns, 120)), max(12, size.lines)

    def style(self, text: str, *styles: str) -> str:
        if not self.colour or not styles:
            return text
        return f"\x1b[{';'.join(_STYLES[s] for s in styles)}m{text}\x1b[0m"

    def line(self, text: str = "") -> None:
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        self.stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")
        self.stream.flush()

    def wrapped(self, label: str, text: str, *styles: str) -> None:
        """Writes a labelled text, wrapped to the width of the page."""
        indent = " " * 12
        lines = textwrap.wrap(text, self.width - len(indent) - 10, break_long_words=False, break_on_hyphens=False)
        for number, line in enumerate(lines or [""]):
            head = f"{label:<9}" if number == 0 else " " * 9
            self.line(indent + self.style(head, "faint") + " " + self.style(line, *styles))

    def plain(self, label: str, lines: List[str]) -> None:
        """Writes labelled lines as they are."""
        for number, line in enumerate(lines):
            head = f"{label:<9}" if number == 0 else " " * 9
            self.line(" " * 12 + self.style(head, "faint") + " " + line)


def _errors_only(problem: str) -> str:
    """Returns a compiler's messages without its warnings, if there are errors: a warning may follow from an error."""
    parts = re.split(r"^(?=\S+:\d+:\d+: (?:error|warning|fatal error):)", problem, flags=re.M)
    errors = [part for part in parts[1:] if re.match(r"\S+: (?:fatal )?error:", part)]
    return "".join([parts[0], *errors]) if errors else problem


def show_heading(page: TerminalText, lab: Lab, warnings: List[str], problems: Sequence[str] = ()) -> None:
    """Shows a lab's title, the compiler's warnings, and why a program of it cannot be built."""
    page.line()
    page.line(page.style(f"Lab {lab.number}  {lab.title}", "bold"))
    for problem in problems:
        lines = [plain(line) for line in _errors_only(problem).splitlines()]
        page.plain("error", lines[:MAX_ERROR_LINES])
        if len(lines) > MAX_ERROR_LINES:
            page.plain("", [f"(and {len(lines) - MAX_ERROR_LINES} more lines: make {lab.number})"])
    if warnings and not problems:
        page.plain("warning", [plain(line) for text in warnings for line in text.splitlines()][:12])


def show_check(page: TerminalText, outcome: Outcome, note: str = "", one_line: bool = False) -> None:
    """Shows one check's outcome in a line.

    @param note      what follows the sentence, such as the number of the failure's cause
    @param one_line  cut the sentence at the width of the page; otherwise it continues on a further line
    """
    word, style = _WORDS[outcome.status]
    text, width = outcome.sentence + (f" {note}" if note else ""), page.width - 13
    if one_line and len(text) > width:
        text = textwrap.shorten(outcome.sentence, width - len(note) - 1, placeholder=" …") + (f" {note}" if note else "")
    lines = textwrap.wrap(text, width) or [""]
    page.line(f"  {page.style(f'{word:<5}', style)}{f'{outcome.score}/{outcome.points}':>4} {lines[0]}")
    for line in lines[1:]:
        page.line(" " * 12 + line)


def show_cause(page: TerminalText, number: int, outcomes: List[Outcome], whole: bool = True) -> None:
    """Shows one cause of failures by the failure that is nearest to it, in at most MAX_ROWS rows of the screen; a schedule may take more.

    @param whole  whether to show all that is known; otherwise only what was expected and seen, in a few rows
    """
    outcome = min(outcomes, key=causes.distance)
    lines = textwrap.wrap(causes.title(outcome), page.width - 13) or [""]
    page.line()
    page.line(f"  {page.style(f'[{number}]', _WORDS[outcome.status][1]):<3}       {page.style(lines[0], 'bold')}")
    for line in lines[1:]:
        page.line(" " * 12 + page.style(line, "bold"))
    saw, calls = outcome.saw[:16], outcome.calls

    def rows(texts: Sequence[str]) -> int:
        return sum(1 + (21 + len(text)) // page.width for text in texts)

    room = MAX_ROWS - len(lines) - rows([outcome.expected, outcome.read]) - rows([outcome.by_hand]) - 2 - bool(outcome.explored)
    while len(saw) > 1 and rows(saw) > room:
        saw = saw[:-1]
    steps = outcome.by_hand.startswith("make replay")
    heads, left = calls[:steps], len(calls)  # the columns of a schedule have heads
    while len(calls) > 1 + len(heads) and rows(calls) > max(MOST_LINES if steps else 3, room - rows(saw)):
        out = next((i for i in range(len(heads), len(calls) - 1) if "made to fail" not in calls[i]), len(heads))
        calls = [*calls[:out], *calls[out + 1:]]  # the last ones say most
    if heads and len(calls) < left:
        calls = [*heads, f"(and {left - len(calls) + 1} steps before)", *calls[2:]]
    if not whole and outcome.status != ERROR:
        saw, calls = saw[:4], []
    left_out = len(outcome.saw) - len(saw)
    page.wrapped("expected", outcome.expected)
    page.plain("but", saw + ([f"(and {left_out} more lines)"] if left_out else []))
    if calls:
        page.plain("steps" if steps else "calls", calls)
    if outcome.explored:
        page.wrapped("explored", explored_text(outcome.explored))
    if outcome.read:
        page.wrapped("read", outcome.read)
    if outcome.by_hand and whole:
        page.plain("by hand", [outcome.by_hand])


def show_in_brief(page: TerminalText, lab: Lab, outcomes: List[Outcome], rows: int) -> None:
    """Shows the failure to fix first, in a few rows: its sentence, what was expected and seen, and the next step."""
    outcome = min(outcomes, key=causes.distance)
    width = page.width - 13
    step = "; ".join(filter(None, [f"read {outcome.read}" if outcome.read else "", f"make hint LAB={lab.number}"]))
    sentence = textwrap.wrap(f"Fix this first: {causes.title(outcome)}", width)[:2]
    expected = textwrap.wrap(outcome.expected, width - 9)
    saw = [textwrap.shorten(line, width - 9, placeholder=" …") for line in outcome.saw]
    steps = textwrap.wrap(step, width - 9)[:2]
    room = max(2, rows - len(sentence) - len(steps))
    expected = expected[:max(1, room - min(len(saw), room // 2))]
    page.line()
    for line in sentence:
        page.line("  " + page.style(line, "bold"))
    page.plain("expected", expected)
    page.plain("but", saw[:max(1, room - len(expected))])
    page.plain("next", steps)


def _see_it(lab: Lab, outcomes: List[Outcome], where: str) -> str:
    """The command that draws what the failure to fix first did; empty if no program was started."""
    failed = [outcome for outcome in outcomes if outcome.status == FAILED and outcome.calls]
    if not failed:
        return ""
    check = min(failed, key=causes.distance).check.replace("test_", "", 1)
    return f"see it: `make trace LAB={lab.number} CHECK={check}{where}`"


def show_score(page: TerminalText, lab: Lab, outcomes: List[Outcome], first: int = 0, step: str = "", stuck: bool = True,
               where: str = "") -> None:
    """Shows a lab's score.

    @param first  the number of the cause to fix first, if there are several
    @param step   what to do after full points
    @param stuck  whether to name the hints and the handout
    @param where  what a command needs besides, to be about these programs
    """
    score, maximum = sum(o.score for o in outcomes), sum(o.points for o in outcomes)
    style = "green" if score == maximum else "red" if score == 0 else "yellow"
    page.line("  " + page.style(f"{score} of {maximum} points", "bold", style) + (f"; fix [{first}] first" if first else ""))
    explored: Dict[str, int] = {}
    for outcome in outcomes:
        for bound, count in outcome.explored.items():
            if outcome.status == PASSED:
                explored[bound] = explored.get(bound, 0) + count
    if explored and score == maximum:
        for line in textwrap.wrap("explored: " + explored_text(explored), page.width - 2):
            page.line("  " + page.style(line, "faint"))
    if score == maximum and step:
        page.line("  " + step)
    if score < maximum and stuck and lab.hints():
        for line in (_see_it(lab, outcomes, where),
                     f"stuck? `make hint LAB={lab.number}`; the handout is labs/{lab.name}/README.md"):
            if line:
                page.line("  " + page.style(line, "faint"))


def show_board(page: TerminalText, rows: List[List[str]], score: int, maximum: int) -> None:
    """Shows the score board of several labs: rows of number, title, score, maximum."""
    page.line()
    for number, title, got, most in rows:
        show_board_row(page, number, title, int(got), int(most))
    page.line("  " + page.style(f"{score} of {maximum} points", "bold"))


def show_board_row(page: TerminalText, number: str, title: str, got: int, most: int, note: str = "") -> None:
    bar = "#" * round(20 * got / max(1, most))
    width = 48 if page.width >= 96 else 36
    row = f"  {number}  {textwrap.shorten(title, width, placeholder=' …'):<{width}} {got:>3}/{most:<3} "
    page.line(f"{row}{page.style(note, 'faint')}" if note else f"{row}{page.style(bar, 'green')}")


def show_progress(page: TerminalText, scores: List[Tuple[Lab, int, int]], step: str) -> None:
    """Shows how far a student is in all labs, in three rows, and what to do next.

    @param scores  each lab with its score and maximum
    """
    page.line()
    page.line("  lab    " + "".join(f"{lab.number:>4}" for lab, _, _ in scores))
    page.line("  points " + "".join(page.style(f"{got or '.':>4}", "green" if got == most else "yellow" if got else "faint")
                                    for _, got, most in scores))
    done = sum(got == most for _, got, most in scores)
    total, maximum = sum(got for _, got, _ in scores), sum(most for _, _, most in scores)
    page.line("  " + page.style(f"{done} of {len(scores)} labs, {total} of {maximum} points", "bold"))
    page.line("  " + step)


# ---- details of a failure -------------------------------------------------------------------------------------


def recent_calls(fixture: LabFixture) -> List[str]:
    """Returns the last calls of the program that a failure is about, each with its line in the source."""
    program = fixture.subject
    if not program:
        return []
    if not program.calls:
        program.calls = program.recorded()
    groups: List[List[Call]] = []
    for call in program.calls:
        if call.name in _SPY_EVENTS:
            continue
        last = groups[-1][-1] if groups else None
        if last and _in_a_loop(last) == _in_a_loop(call):
            groups[-1].append(call)  # shown once
        else:
            groups.append([call])
    omitted = max(0, len(groups) - MAX_CALLS)
    # What this check has made to fail is shown, however long ago that was.
    failed = [group for group in groups[:omitted] if group[-1].injected][-1:]
    kept = failed + groups[omitted:]
    shown = _with_source_lines(fixture, program, [group[-1] for group in kept])
    several = len({call.pid for call in shown}) > 1
    width = max((len(call.place) for call in shown), default=0)
    lines = [f"(and {sum(map(len, groups[:omitted])) - sum(map(len, failed))} before)"] if omitted else []
    for call, group in zip(shown, kept):
        which = "" if len({str(one) for one in group}) == 1 else ", the last"
        lines.append(_call_line(call, width, several) + (f"   ({len(group)} times{which})" if len(group) > 1 else ""))
    return lines or ["no call that this lab is about"]


def _in_a_loop(call: Call) -> Tuple[object, ...]:
    """What is equal for calls that a loop makes, one after the other, with the same outcome."""
    return call.pid, call.where, call.error, call.injected, call.wait_status


def _call_line(call: Call, width: int, several: bool) -> str:
    process = f"[{call.pid}] " if several else ""
    return f"{call.place:<{width}}  {process}{call}" if width else f"{process}{call}"


#: The system call of each function that `strace -e inject` can make fail: the program makes none of them before main(). A "?"
#: precedes one that not every machine has.
_SYSTEM_CALLS = {
    **{name: name for name in ("shmget", "shmat", "shmdt", "shmctl", "ftruncate", "memfd_create", "msync", "flock", "socket",
                               "bind", "listen", "connect", "sendmsg", "recvmsg")},
    "fork": "?clone,?clone3,?fork", "waitpid": "wait4", "posix_fallocate": "fallocate", "link": "?link,linkat",
}
#: The same for calls that the loader makes as well, before main(): strace is told on which file or object.
_SYSTEM_CALLS_ON_A_FILE = {"mmap": "mmap", "shm_open": "openat", "open": "openat", "shm_unlink": "?unlink,unlinkat",
                           "unlink": "?unlink,unlinkat"}


def _argument(word: str) -> Optional[str]:
    """Returns a word as the shell reads it; None if it is too long to type."""
    if len(word) <= SHORT_TEXT:
        return shlex.quote(word)
    if len(set(word)) == 1 and word[0].isalnum():
        return f"\"$(printf '%{len(word)}s' | tr ' ' {word[0]})\""
    return None


def _command(program: Program) -> Optional[str]:
    """Returns the shell command that starts a program as the check did, or None if there is none."""
    words = [_argument(word) for word in program.started.argv]
    if None in words or len(program.sent) > SHORT_TEXT:
        return None
    return " ".join(filter(None, words))


def _around(program: Program, command: str) -> str:
    """Adds the program's input, output and umask to a command."""
    umask, target = re.match(r"\(umask (\d+); ", program.by_hand), re.search(r" > (/dev/\w+)\)?$", program.by_hand)
    command += f" > {target.group(1)}" if target else ""
    if program.sent:
        command = f"printf {shell_bytes(program.sent)} | {command}"
    return f"(umask {umask.group(1)}; {command})" if umask else command


def _failing(program: Program, command: str, name: str, nth: int, number: int) -> Optional[str]:
    """Returns the command that starts a program so that its nth call of that name fails, or None if there is none."""
    paths = {f"/dev/shm/{call.text.lstrip('/')}" if call.name.startswith("shm_") else call.text for call in program.calls
             if call.name in ("shm_open", "shm_unlink", "open", "unlink") and call.text}
    where = ""
    if name in _SYSTEM_CALLS:
        system_call = _SYSTEM_CALLS[name]
    elif name in _SYSTEM_CALLS_ON_A_FILE and len(paths) == 1:
        system_call, where = _SYSTEM_CALLS_ON_A_FILE[name], f"-P {shlex.quote(paths.pop())} "
    else:
        return None
    error = "EOPNOTSUPP" if number == errno.EOPNOTSUPP else errno.errorcode[number]  # Python's other name for it strace has not
    return f"strace -f {where}-e trace={system_call} -e inject={system_call}:error={error}:when={nth} {command}"


def _stopped(command: str, name: str, nth: int, look: str) -> str:
    """Returns the command that starts a program and stops it right after its nth call of that name, or at its end."""
    if name == "end":
        return f"gdb -q -batch -ex 'catch syscall exit_group' -ex run -ex '{look}' --args {command}"
    skip = f" -ex 'ignore 2 {nth - 1}'" if nth > 1 else ""
    return f"gdb -q -batch -ex start -ex 'tbreak {name}'{skip} -ex continue -ex finish -ex '{look}' --args {command}"


def _earlier(fixture: LabFixture, program: Program) -> Optional[List[str]]:
    """Returns the commands of the programs that ran before in the same box and left something there; None if there is none."""
    steps: List[str] = []
    beside = [other for other in fixture.history if other is not program and other.since == fixture.since]
    if any(program.overlaps(other) for other in beside):
        return None
    for other in sorted(beside, key=lambda other: other.began):
        if other.began > program.began:
            break
        if other.finished and not other.finished.left_behind.lines:
            continue
        command = _command(other)
        if command is None or not other.finished or other.rules or not other.repeatable:
            return None
        steps.append(_around(other, command))
    return steps


#: Lines of a message about what a stopped program shows by hand, too: its mappings, the segments.
_STATE = re.compile(r"\bmapping|\brw-[sp]\b|\br--[sp]\b|\bkey 0x")


_CRASH = re.compile(r"was killed by SIG(SEGV|BUS)$", re.M)


def reproduce(fixture: LabFixture, saw: Sequence[str]) -> str:
    """Returns shell commands that reproduce a failure by hand; empty if there are none that do.

    @param saw  what the message shows

    A debugger shows a program that the check looked at while it was stopped. What the check did besides is part of the
    commands. If it did something that no command does, such as to change the program's memory, there are none.
    """
    program = fixture.subject
    command = _command(program) if program else None
    earlier = _earlier(fixture, program) if program else None
    if not program or command is None or earlier is None or not (
            fixture.repeatable and program.repeatable and fixture.untouched(program)):
        return ""
    names = {call.name for call in program.calls}
    if names & {"accept", "connect"}:
        return ""  # the check itself was at the other end of the socket
    look = "ipcs -m" if "shmget" in names else "ls -l /dev/shm" if "shm_open" in names else ""
    rules = [rule.split(" ") for rule in program.rules]
    main: Optional[str] = command
    if rules and rules[0][0] == "fail":
        if len(rules) > 1 or rules[0][3].startswith("-") or len(rules[0]) > 4 and rules[0][4] != "p":
            return ""
        main = _failing(program, command, rules[0][1], int(rules[0][2]), int(rules[0][3]))
    elif rules and not program.finished:
        # After fork(), the parent shows what its children have; other stops of a child are too much for a line.
        if len(rules) > 1 or rules[0][1] in ("start", "store") or rules[0][2] == "0" or rules[0][1:4:2] not in (
                [rules[0][1], "p"], ["fork", "c"], ["fork", "a"]) or not _STATE.search("\n".join(saw)):
            return ""
        main = _stopped(command, rules[0][1], int(rules[0][2]), f"shell {look}" if look.startswith("ipcs") else
                        "info proc mappings")
    elif _CRASH.search("\n".join(saw)):
        main = f"gdb -q -batch -ex run -ex backtrace -ex 'print $_siginfo._sifields._sigfault.si_addr' --args {command}"
    if main is None:
        return ""
    if fixture.in_student_layout and fixture.cc == "cc" and not fixture.san:
        steps = [f"make {fixture.lab.number}", f"cd build/labs/{fixture.lab.name}"]
    else:
        directory = submitted_directory(fixture.submission, fixture.lab)
        needed = [other.built.program for other in fixture.history if any(f"./{other.built.program}" in step for step in earlier)]
        steps = [f"cd {shlex.quote(str(directory))}", *(" ".join(compile_command(name, fixture.cc, fixture.san))
                                                        for name in dict.fromkeys([*needed, program.built.program]))]
    steps += [*fixture.shell, *earlier, _around(program, main)] + ([look] if look and main is command else [])
    return "; ".join(steps)


def replay(fixture: LabFixture) -> str:
    """The command that runs the schedule again that a failure is about."""
    if not fixture.end:
        return ""
    where = "" if fixture.in_student_layout else f" IN={shlex.quote(str(fixture.submission))}"
    return f"make replay LAB={fixture.lab.number}{where} SCHEDULE={fixture.end.schedule}"


def _with_source_lines(fixture: LabFixture, program: Program, calls: List[Call]) -> List[Call]:
    """Returns the calls with `place` set, such as "file.c:31", where the debug information tells."""
    try:
        return with_places(calls, source_lines(program.built, fixture.tier, sorted({call.where for call in calls})))
    except Exception:  # the calls are worth showing without places, too
        return calls
