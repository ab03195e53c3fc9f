"""Finds the labs and reads what their directories say. No list of labs is kept anywhere: the directories are the list."""
from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import List, Optional, Tuple

ROOT = Path(__file__).resolve().parents[2]
LABS = ROOT / "labs"
SOLUTIONS = ROOT / "solutions"
PEERS = ROOT / "harness" / "peers"  # the finished programs that checks need, compiled, where there are no solutions
CHECKS = ROOT / "harness" / "checks"
MISTAKES = ROOT / "harness" / "mistakes"
VARIANTS = ROOT / "harness" / "variants"
HOSTILE = ROOT / "harness" / "hostile"


def judging_modules() -> List[Path]:
    """The modules that decide a verdict, which each edition has and on which each kept outcome depends."""
    package = Path(__file__).resolve().parent
    return [package / "__init__.py", package / "labs.py", package / "results.py",
            *(path for part in ("sandbox", "judging", "explore") for path in sorted((package / part).glob("*.py")))]


class UserError(Exception):
    """Something the person at the keyboard can mend; its text is one line that says what and how."""


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
        """The directory with the handout and the unfinished programs."""
        return LABS / self.name

    @property
    def handout(self) -> str:
        return (self.directory / "README.md").read_text(encoding="utf-8")

    def section(self, heading: str) -> str:
        """The text of one section of the handout, without its heading."""
        found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", self.handout, re.M | re.S)
        return found.group(1).strip() if found else ""

    def checks(self) -> Tuple[Check, ...]:
        """The checks of this lab, in order, as their file has them; nothing is run for it."""
        return _checks(self.name)

    def hints(self) -> List[Tuple[str, str]]:
        """The ladder of hints: title and text of each."""
        pattern = r"<details><summary>(.*?)</summary>\s*(.*?)\s*</details>"
        return re.findall(pattern, self.section("Hints"), re.S)

    def promised_checks(self) -> List[Tuple[int, str]]:
        """Points and sentence of each line under "What is checked"."""
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
        # A student may have deleted or added files in labs/; the solutions know what a lab consists of.
        programs = tuple(sorted(path.stem for path in (SOLUTIONS / directory.name).glob("*.c")))
    return Lab(match.group(1), directory.name, title, programs)


@lru_cache(maxsize=None)
def all_labs() -> Tuple[Lab, ...]:
    """Every lab, in order."""
    found = (_read(directory) for directory in sorted(LABS.iterdir()) if directory.is_dir())
    return tuple(lab for lab in found if lab)


def find(word: str) -> Lab:
    """The lab that a person means by "5", "05", "05_sysv_create", "sysv_create" or a path to its directory."""
    wanted = word.rstrip("/").rsplit("/", 1)[-1]
    labs = all_labs()
    for lab in labs:
        if wanted in (lab.number, lab.name, lab.name[3:]) or (wanted.isdigit() and wanted.zfill(2) == lab.number):
            return lab
    raise UserError(f"there is no lab '{word}': the labs are {' '.join(lab.number for lab in labs)}")


def submitted_directory(submission: Path, lab: Lab) -> Optional[Path]:
    """Where in a submission the files of one lab are: DIR/NN_name, DIR/labs/NN_name, or DIR itself."""
    for directory in (submission / lab.name, submission / "labs" / lab.name):
        if directory.is_dir():
            return directory
    if submission.name == lab.name or any((submission / f"{program}.c").exists() for program in lab.programs):
        return submission
    return None
