"""A schedule as columns of processes, one line a step, so that one can read who did what when."""
from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

from ..sandbox.box import Box
from ..sandbox.build import Built
from .ends import RawEnd
from .steps import Step, describe

MOST_LINES = 34  # of a verdict
COLUMN = 54


def _places(tier: str, built: Built, wheres: Sequence[int]) -> Dict[int, str]:
    """"file.c:31" for return addresses, where the debug information tells."""
    if not wheres:
        return {}
    base = 0
    with open(built.path, "rb") as file:
        if file.read(18)[16:18] == b"\x02\x00":  # ET_EXEC: not position-independent, usually at this address
            base = 0x400000
    with Box(tier) as box:
        box.put(built.program, built.path.read_bytes())
        run = box.start(["addr2line", "-s", "-e", built.program, *(hex(where + base - 1) for where in wheres)], wall_ms=3000)
        box.wait(run, 4)
        lines = run.output[1].decode("utf-8", "replace").splitlines()
    return {where: line.split(" ")[0] for where, line in zip(wheres, lines) if not line.startswith("?")}


class Listing:
    """The steps of one schedule, ready to be printed.

    @param programs  the program of each process
    @param sources   the submission's files, by name: lines of them are quoted
    """

    def __init__(self, end: RawEnd, tier: str, programs: Sequence[Built], commands: Sequence[str], sources: Dict[str, bytes]) -> None:
        self.end, self.commands = end, commands
        self._text = {name: content.decode("utf-8", "replace").splitlines() for name, content in sources.items()}
        self._place: Dict[Tuple[int, int], str] = {}
        for built in {built.path: built for built in programs}.values():
            mine = [i for i, program in enumerate(programs) if program.path == built.path]
            wheres = sorted({step.where for step in end.steps if step.process in mine and step.kind not in ("start", "end")})
            try:
                found = _places(tier, built, wheres)
            except Exception:  # the listing is worth showing without places, too
                found = {}
            self._place.update({(i, where): place for i in mine for where, place in found.items()})

    def _object(self, step: Step) -> str:
        files = self.end.files
        name = files[step.file] if 0 <= step.file < len(files) else ""
        inside = step.is_access or step.kind.startswith(("sem_", "pthread_")) or step.kind == "syscall"
        if inside and 0 <= step.file:
            return f"{name or 'memory'}+{step.offset}"
        return name

    def _is_shared(self) -> List[bool]:
        """For each step whether it is on something that another process touches as well."""
        def key(step: Step) -> object:
            if step.is_access or step.kind.startswith(("sem_", "pthread_")) or step.kind == "syscall":
                return step.file, step.offset // 8
            return step.text.split(" ")[-1] or step.file

        users: Dict[object, set] = {}
        for step in self.end.steps:
            users.setdefault(key(step), set()).add(step.process)
        return [len(users[key(step)]) > 1 or step.waits or bool(step.error) or step.kind in ("start", "end")
                for step in self.end.steps]

    def line(self, step: Step) -> str:
        place = self._place.get((step.process, step.where), "")
        file, _, number = place.partition(":")
        said = describe(step, self._object(step))
        quoted = ""
        if step.is_access and number.isdigit() and file in self._text and int(number) <= len(self._text[file]):
            quoted = re.sub(r"\s+", " ", self._text[file][int(number) - 1].split("/*")[0].strip())
        short = re.sub(r"^(\w+) \S+\+(\d+): ", r"\1 at +\2: ", said)
        text = f"{quoted}  ({short})" if quoted else said
        return f"{file.rsplit('.', 1)[0][:0]}{number or '?':>4} {text}" if place else f"     {text}"

    def lines(self, most: int = 0) -> List[str]:
        """The columns. With `most`, only steps that matter to other processes, and at most so many lines around the last."""
        shared = self._is_shared() if most else [True] * len(self.end.steps)
        shown = [(step, self.line(step)) for step, matters in zip(self.end.steps, shared) if matters]
        head = [" | ".join(f"{chr(ord('A') + i) + ': ' + command:<{COLUMN}.{COLUMN}}" for i, command in enumerate(self.commands)).rstrip()]
        body = []
        for step, text in shown:
            cells = [""] * len(self.commands)
            if step.process < len(cells):
                cells[step.process] = text
            body.append(" | ".join(f"{cell[:COLUMN]:<{COLUMN}}" for cell in cells).rstrip())
        if most and len(body) > most:
            body = [*body[:most // 3], f"     (and {len(body) - most} steps)", *body[len(body) - (most - most // 3):]]
        return head + body + self._standstill()

    def _standstill(self) -> List[str]:
        """Who waits for what, where the schedule has come to a standstill."""
        if self.end.verdict not in ("deadlock", "livelock"):
            return []
        said = []
        for process in self.end.processes:
            if any(step.kind == "end" and chr(ord("A") + step.process) == process.letter for step in self.end.steps):
                continue
            said.append(waits(process.letter, process.last, self._object(process.last), process.waits_privately,
                              self._place.get((ord(process.letter) - ord("A"), process.last.where), "")))
        return said


def waits(letter: str, step: Step, place: str, privately: bool, source: str) -> str:
    """Who waits for what, in words."""
    where = f" ({source})" if source else ""
    private = "; it was not set up for several processes, so no other process can wake it" if privately else ""
    return f"{letter} waits for ever in {step.kind}({place}){where}{private}"


def read_sources_of(submission: Path, names: Sequence[str]) -> Dict[str, bytes]:
    """Source files to quote from."""
    return {name: (submission / name).read_bytes() for name in names if (submission / name).is_file()}
