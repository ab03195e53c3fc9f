"""Finds the labs by their directories (there is no other list of them), and parses their handouts and checks."""
from __future__ import annotations

import ast
import errno
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import List, Optional, Tuple

ROOT = Path(__file__).resolve().parents[2]
LABS = ROOT / "labs"
SOLUTIONS = ROOT / "solutions"
PEERS = ROOT / "harness" / "peers"  # in the students' edition: the finished programs that checks need, compiled
CHECKS = ROOT / "harness" / "checks"
MISTAKES = ROOT / "harness" / "mistakes"
VARIANTS = ROOT / "harness" / "variants"
HOSTILE = ROOT / "harness" / "hostile"


def judging_modules() -> List[Path]:
    """Returns the modules that decide a verdict. Every edition has them, and a cached outcome is valid for one state of them."""
    package = Path(__file__).resolve().parent
    return [package / "__init__.py", package / "labs.py", package / "results.py",
            *(path for part in ("sandbox", "judging", "explore") for path in sorted((package / part).glob("*.py")))]


def is_refusal(error: OSError) -> bool:
    """Whether a call failed because the disk is full or broken, or may not be written to."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.EISDIR)


class UserError(Exception):
    """An error that the user can fix; its text is one line that says what is wrong and how to fix it."""

    @classmethod
    def of_results(cls, error: OSError, out: Path) -> "UserError":
        """Describes why a course's results could not be written. Raises any other error again."""
        if not is_refusal(error):
            raise error
        return cls(f"cannot write {str(error.filename or out)!a}: {error.strerror}; no outcome is lost: make space, or grant "
                   "write permission, and run the same command again")

    @classmethod
    def from_refusal(cls, error: OSError) -> "UserError":
        """Describes a failed call if the user can do something about it, as with a full disk. Raises any other error again."""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = "make space, or set SHMLAB_BUILD to a directory on another disk"
        elif error.errno in (errno.EROFS, errno.EACCES) and error.filename:
            remedy = "if this is a generated file, set SHMLAB_BUILD to a directory that you can write to"
        else:
            raise error
        return cls(f"{error.filename or 'writing'}: {error.strerror}; {remedy}")


@dataclass(frozen=True)
class Check:
    """One requirement of a lab: the test's name, the sentence that it states, and its points."""

    name: str
    sentence: str
    points: int


@dataclass(frozen=True)
class Lab:
    """One lab: its number ("05"), its name ("05_sysv_create"), its title and its programs' names."""

    number: str
    name: str
    title: str
    programs: Tuple[str, ...]

    @property
    def directory(self) -> Path:
        """The directory with the handout and the skeletons of the programs."""
        return LABS / self.name

    @property
    def handout(self) -> str:
        return (self.directory / "README.md").read_text(encoding="utf-8")

    def section(self, heading: str) -> str:
        """Returns the text of one section of the handout without its heading; empty if there is none."""
        found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", self.handout, re.M | re.S)
        return found.group(1).strip() if found else ""

    def checks(self) -> Tuple[Check, ...]:
        """Returns the checks of this lab in the order of their file, which is parsed and not imported."""
        return _checks(self.name)

    @property
    def executes(self) -> bool:
        """Whether the handout asks a program to execute another."""
        return "execvp" in self.section("Steps")

    @property
    def explores(self) -> bool:
        """Whether a check of this lab runs schedules."""
        return "every_schedule(" in (CHECKS / f"test_{self.name}.py").read_text(encoding="utf-8")

    def hints(self) -> List[Tuple[str, str]]:
        """Returns the title and text of each hint, in order."""
        pattern = r"<details><summary>(.*?)</summary>\s*(.*?)\s*</details>"
        return re.findall(pattern, self.section("Hints"), re.S)

    def promised_checks(self) -> List[Tuple[int, str]]:
        """Returns the points and the sentence of each line under "What is checked" in the handout."""
        text = re.sub(r"\n  +", " ", self.section("What is checked"))
        return [(int(p), s.strip()) for p, s in re.findall(r"^- \((\d+)\) (.*)$", text, re.M)]


@lru_cache(maxsize=None)
def _checks(name: str) -> Tuple[Check, ...]:
    found = []
    for node in ast.parse((CHECKS / f"test_{name}.py").read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
            continue
        for mark in node.decorator_list:
            if isinstance(mark, ast.Call) and getattr(mark.func, "id", "") == "points":
                sentence = " ".join((ast.get_docstring(node) or node.name).split("\n\n")[0].split())
                found.append(Check(node.name, sentence, ast.literal_eval(mark.args[0])))
    return tuple(found)


def _read(directory: Path) -> Optional[Lab]:
    match = re.fullmatch(r"(\d\d)_\w+", directory.name)
    if not match or not (directory / "README.md").is_file():
        return None
    with open(directory / "README.md", encoding="utf-8") as handout:
        title = re.sub(r"^#\s*(Lab \d+: )?", "", handout.readline()).strip()
    programs = tuple(sorted(path.stem for path in directory.glob("*.c")))
    if (SOLUTIONS / directory.name).is_dir():
        # A user may have deleted or added files in labs/, so the solutions decide which programs a lab has.
        programs = tuple(sorted(path.stem for path in (SOLUTIONS / directory.name).glob("*.c")))
    return Lab(match.group(1), directory.name, title, programs)


@lru_cache(maxsize=None)
def all_labs() -> Tuple[Lab, ...]:
    """Returns every lab, in order."""
    found = (_read(directory) for directory in sorted(LABS.iterdir()) if directory.is_dir())
    return tuple(lab for lab in found if lab)


def find(word: str) -> Lab:
    """Returns the lab that a user calls "5", "05", "05_sysv_create", "sysv_create" or by a path to its directory.

    Raises UserError if there is none.
    """
    wanted = word.rstrip("/").rsplit("/", 1)[-1]
    labs = all_labs()
    for lab in labs:
        if wanted in (lab.number, lab.name, lab.name[3:]) or (wanted.isdigit() and wanted.zfill(2) == lab.number):
            return lab
    raise UserError(f"there is no lab '{word}': the labs are {' '.join(lab.number for lab in labs)}")


def submitted_directory(submission: Path, lab: Lab) -> Optional[Path]:
    """Returns where the files of a lab are in a submission: DIR/NN_name, DIR/labs/NN_name or DIR itself; None if nowhere."""
    for directory in (submission / lab.name, submission / "labs" / lab.name):
        if directory.is_dir():
            return directory
    if submission.name == lab.name or any((submission / f"{program}.c").exists() for program in lab.programs):
        return submission
    return None
