"""A schedule as columns of processes, one line a step, so that one can read who did what when."""
from __future__ import annotations

import re
from typing import Container, Dict, List, Sequence, Set, Tuple

from ..sandbox.build import Built
from ..sandbox.source_lines import source_lines
from .ends import RawEnd
from .fields import Fields, read_fields
from .steps import CREAT, Step, describe

MOST_LINES = 36  # of a verdict
LONG_LINES = 24  # of a verdict, from which on it is kept short
LINE_WIDTH, SHORT_WIDTH = 110, 86  # of the columns together; short: of a verdict, which is indented
SETS_UP = ("shm_open", "open", "fcntl", "flock", "lockf", "ftruncate", "posix_fallocate")  # an object


def _letter(process: int) -> str:
    return chr(ord("A") + process)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[:width - 1] + "…"


def short(text: str) -> str:
    """The names that checks make up, as the handouts write them."""
    return re.sub(r"/shmlab-[0-9a-f]{8}", "/NAME", text)


def _is_inside(step: Step) -> bool:
    """Whether a step is on something inside an object, and not on the object as a whole."""
    return step.is_access or step.kind.startswith(("sem_", "pthread_")) or step.kind in ("syscall", "visible")


class Listing:
    """The steps of one schedule, ready to be printed.

    @param programs  the program of each process
    @param sources   the submission's files, by name: lines of them are quoted
    @param existing  the names of the objects that were there when the schedule began
    """

    def __init__(self, end: RawEnd, tier: str, programs: Sequence[Built], commands: Sequence[str], sources: Dict[str, bytes],
                 existing: Container[str] = ()) -> None:
        self.end, self.commands, self.existing = end, commands, existing
        self._files = [f"{program.program}.c" for program in programs]
        self._text = {name: content.decode("utf-8", "replace").splitlines() for name, content in sources.items()}
        self._place: Dict[Tuple[int, int], str] = {}
        self._fields: Dict[int, Fields] = {}
        for built in {built.path: built for built in programs}.values():
            mine = [i for i, program in enumerate(programs) if program.path == built.path]
            wheres = sorted({step.where for step in end.steps
                             if self._column(step.process) in mine and step.kind not in ("start", "end")})
            try:
                found = source_lines(built, tier, wheres)
            except Exception:  # the listing is worth showing without places, too
                found = {}
            self._place.update({(i, where): place for i in mine for where, place in found.items()})
            try:
                fields = read_fields(tier, built, ["\n".join(lines) for lines in self._text.values()])
                self._fields.update({i: fields for i in mine})
            except Exception:
                pass

    def _place_of(self, step: Step) -> str:
        """The file and line of a step; a child runs the program of its column."""
        return self._place.get((self._column(step.process), step.where), "")

    def _object(self, step: Step) -> str:
        files = self.end.files
        name = files[step.file] if 0 <= step.file < len(files) else ""
        if not _is_inside(step):
            return name
        fields = self._fields.get(self._column(step.process))
        found = fields.name(step.offset) if fields else ""
        several = len({other.file for other in self.end.steps if other.file >= 0}) > 1 and step.file >= 0
        if found:
            return f"{name}: {found}" if several else found
        return f"{name}+{step.offset}" if several else f"+{step.offset}"

    def _matters(self, long: bool) -> List[bool]:
        """For each step whether it says something about the order: another process touches the same thing, or it waits, or fails.

        Of the others' steps, those are left out that only begin or end a process's part: unless an object is made or removed
        here, it is all the same when which of them opens or unmaps it. If the list gets too long, what sets up an object that
        was there already is left out, too.
        """
        def key(step: Step) -> object:
            if _is_inside(step):
                return step.file, step.offset // 8
            return step.text.split(" ")[-1] or step.file

        users: Dict[object, Set[int]] = {}
        for step in self.end.steps:
            users.setdefault(key(step), set()).add(step.process)
        makes = any(step.kind in ("shm_unlink", "unlink", "rename", "link", "linkat") or step.kind in ("shm_open", "open")
                    and step.size & CREAT for step in self.end.steps)
        quiet = {"start", "exit", "mmap", "munmap", "close", "fstat", *(() if makes else ("shm_open", "open"))}
        removes = any(step.kind in ("shm_unlink", "unlink", "rename") for step in self.end.steps)

        def sets_up_again(step: Step) -> bool:
            name = self.end.files[step.file] if 0 <= step.file < len(self.end.files) else step.text
            return long and not removes and step.kind in SETS_UP and name in self.existing

        return [step.waits or bool(step.error) or (
            step.result != 0 if step.kind == "end" else
            step.kind not in quiet and len(users[key(step)]) > 1 and not sets_up_again(step)) for step in self.end.steps]

    def _quote(self, place: str) -> str:
        """The line of the source at a place such as "file.c:31"."""
        file, _, number = place.partition(":")
        if not number.isdigit() or not 0 < int(number) <= len(self._text.get(file, [])):
            return ""
        return re.sub(r"\s+", " ", self._text[file][int(number) - 1].split("/*")[0].strip())

    def _cell(self, steps: Sequence[Step]) -> str:
        """One step, or several accesses that one line of the source makes."""
        place = self._place_of(steps[0])
        file, _, number = place.partition(":")
        at = place if number and file != self._files[self._column(steps[0].process)] else f"{number:>4}"
        quoted = self._quote(place) if steps[0].is_access else ""
        said = ", ".join(describe(step, self._object(step)) for step in steps) if len(steps) < 3 else (
            f"{steps[0].kind} " + ", ".join(self._object(step) for step in steps))
        return f"{at} {said}" + (f"   {quoted}" if quoted else "")

    def cell(self, step: Step) -> Tuple[str, str]:
        """What one step is, in words, and its place in the source, such as "file.c:31"."""
        return short(describe(step, self._object(step))), self._place_of(step)

    def _groups(self, all_steps: bool, long: bool) -> List[List[Step]]:
        """The steps, loads of one line of the source together; all, or those that matter to others."""
        groups: List[List[Step]] = []
        for step, matters in zip(self.end.steps, self._matters(long)):
            if not all_steps and not matters:
                continue
            last = groups[-1][-1] if groups else None
            same = last and last.is_access and (last.process, last.kind) == (step.process, step.kind) and step.kind == "load" \
                and self._place_of(step) and self._place_of(last) == self._place_of(step)
            if same:
                groups[-1].append(step)
            else:
                groups.append([step])
        return groups

    def lines(self, most: int = 0) -> List[str]:
        """The columns. With `most`, only steps that matter to other processes, and at most so many lines around the last."""
        count = len(self.commands)
        width = max(30, (SHORT_WIDTH if most else LINE_WIDTH) // count)
        body, groups = [], self._groups(not most, False)
        if most and len(groups) > LONG_LINES:
            groups = self._groups(False, True)
        for group in groups:
            cells = [""] * count
            column = self._column(group[0].process)
            text = short(self._cell(group))
            cells[column] = text if column == group[0].process else f"[{_letter(group[0].process)}] {text}"
            body.append(" | ".join(f"{_cut(cell, width):<{width}}" for cell in cells).rstrip())
        if most and len(body) > most:
            body = [*body[:most // 3], f"     (and {len(body) - most + 1} steps)", *body[len(body) - (most - 1 - most // 3):]]
        head = " | ".join(f"{_cut(short(f'{_letter(i)}: {command}'), width):<{width}}" for i, command in enumerate(self.commands))
        return [head.rstrip(), *body, *map(short, self.standstill())]

    def _column(self, process: int) -> int:
        """The column of a process: its own, or that of the process that has forked it."""
        return self.end.processes[process].root if len(self.commands) <= process < len(self.end.processes) else process

    def standstill(self) -> List[str]:
        """Who waits for what, where the schedule has come to a standstill."""
        if self.end.verdict not in ("deadlock", "livelock"):
            return []
        said = []
        for process in self.end.processes:
            if any(step.kind == "end" and chr(ord("A") + step.process) == process.letter for step in self.end.steps):
                continue
            said.append(waits(process.letter, process.last, self._object(process.last), self.end.privacy(process),
                              self._place.get((ord(process.letter) - ord("A"), process.last.where), "")))
        return said


def waits(letter: str, step: Step, place: str, privately: int, source: str) -> str:
    """Who waits for what, in words."""
    where = f" ({source})" if source else ""
    private = {1: "; it was not set up for several processes, so no other process can wake it",
               2: "; all its bytes are zero: it has not been set up yet, or was overwritten"}.get(privately, "")
    return f"{letter} waits for ever in {step.kind}({place}){where}{private}"
