"""Reads the gallery that tests the checks: known wrong programs and unusual right ones (patches on solutions), and attacks."""
from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Tuple

from .labs import HOSTILE, MISTAKES, ROOT, SOLUTIONS, VARIANTS, Lab, UserError, all_labs

FAST = "fast"  # the name of the variant that `make race` measures a student's programs beside


@dataclass(frozen=True)
class Patch:
    """A wrong program (mistake) or a right one in another style (variant), as a patch on a lab's solution.

    `seen_as` is what the student sees, `caught_by` are the checks that fail: for a variant, none.
    """

    lab: Lab
    name: str
    path: Path
    title: str
    seen_as: str
    caught_by: Tuple[str, ...]
    needs_private_ipc: bool = False  # whether the mistake shows only with a full /dev/shm or another limit of its own

    def __str__(self) -> str:
        return f"{self.lab.name}/{self.name}"

    def apply(self, directory: Path) -> Path:
        """Writes the patched programs below a directory. Returns the submission to check."""
        target = directory / "solutions" / self.lab.name
        target.mkdir(parents=True)
        for source in (SOLUTIONS / self.lab.name).glob("*.[ch]"):
            (target / source.name).write_bytes(source.read_bytes())
        done = subprocess.run(["patch", "-p1", "--quiet", "--fuzz=0", "--no-backup-if-mismatch", "-i", str(self.path)],
                              cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            raise UserError(f"{self.path.relative_to(ROOT)} does not fit the solution: {done.stdout.strip()}")
        return directory / "solutions"


def _read(lab: Lab, path: Path) -> Patch:
    head = path.read_text(encoding="utf-8").split("\n--- ", 1)[0]
    field: Dict[str, str] = dict(re.findall(r"^([A-Z][a-z ]+): (.+)$", head, re.M))
    title = field.get("Mistake") or field.get("Variant") or ""
    caught = tuple(re.findall(r"\w+", field.get("Caught by", "")))
    return Patch(lab, path.stem, path, title, field.get("Seen as", ""), caught, "Needs" in field)


def _all(directory: Path) -> List[Patch]:
    return [_read(lab, path) for lab in all_labs() for path in sorted((directory / lab.name).glob("*.patch"))]


def mistakes() -> List[Patch]:
    """Returns every known wrong program, ordered by lab."""
    return _all(MISTAKES)


def variants() -> List[Patch]:
    """Returns every right program that differs from the solution, ordered by lab."""
    return _all(VARIANTS)


@dataclass(frozen=True)
class Attack:
    """A hostile program that is submitted in place of one of a lab's.

    `score` is the points it gets. `says` are texts of which its feedback must contain one; there are several if on a slow
    machine the program may reach its time limit before the limit it aims at.
    """

    lab: Lab
    program: str
    path: Path
    title: str
    score: int
    says: Tuple[str, ...]

    def __str__(self) -> str:
        return self.path.stem

    def is_reported(self, text: str) -> bool:
        """Returns whether the feedback contains one of the texts that it must contain."""
        return not self.says or any(words in text for words in self.says)

    def apply(self, directory: Path) -> Path:
        """Writes the lab's solution with the hostile program in it. Returns the submission to check."""
        target = directory / "labs" / self.lab.name
        target.mkdir(parents=True)
        for source in [*(SOLUTIONS / self.lab.name).glob("*.[ch]"), *HOSTILE.glob("*.h")]:
            (target / source.name).write_bytes(source.read_bytes())
        (target / f"{self.program}.c").write_bytes(self.path.read_bytes())
        return directory


def _read_attack(path: Path, labs: Dict[str, Lab]) -> Attack:
    head = path.read_text(encoding="utf-8").split("*/", 1)[0]
    field: Dict[str, str] = dict(re.findall(r"^ \* (?:@brief )?([A-Z][a-z ]+): (.+)$", head, re.M))
    name, _, file = field["Instead of"].partition("/")
    says = tuple(words.strip() for words in field.get("Says", "").split(" | ") if words)
    return Attack(labs[name], file[: -len(".c")], path, field["Hostile"], int(field["Score"]), says)


def hostile() -> List[Attack]:
    """Returns every program that attacks the grader or the machine."""
    labs = {lab.name: lab for lab in all_labs()}
    return [_read_attack(path, labs) for path in sorted(HOSTILE.glob("*.c"))]
