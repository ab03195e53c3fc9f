"""Finds near-identical work: programs that share much that neither the handed-out skeleton nor many others have.

A program is compared as its tokens, so layout, comments and the names of variables do not matter. What it has in runs of SIZE
tokens is compared with all programs of the same lab. That is a hint to look at, no proof: small labs have few right ways.
`make similar` writes the same programs for JPlag and MOSS, which compare better.
"""
from __future__ import annotations

import re
import time
from itertools import combinations
from pathlib import Path
from typing import Any, Dict, FrozenSet, Iterable, List, Mapping, Sequence, Set, Tuple

from . import exports, results_directory
from ..labs import Lab, UserError, find
from ..results import plain, write_whole

SIZE = 10  # tokens in a run
LEAST = 30  # runs that a program must have of its own, to be compared
SHARED = 5  # a run is nobody's own if more programs than this have it, or a tenth of them, but at most MOST
MOST = 20
ALIKE = 0.8  # share of the runs of the smaller program from which two are shown
MOST_ENTRIES = 50  # of one lab
MOST_BYTES = 1 << 18  # of a source that are looked at
SECONDS = 60.0  # for a course; labs that are left then are not compared

Record = Dict[str, Any]
Runs = FrozenSet[int]

_KEYWORDS = frozenset("auto break case char const continue default do double else enum extern float for goto if inline int long register "
                      "restrict return short signed sizeof static struct switch typedef union unsigned void volatile while".split())
# What is not closed is taken to its end, so that no text needs more than linear time.
_TOKEN = re.compile(rb"/\*(?:.*?\*/|.*)|//[^\n]*|^[ \t]*#[^\n]*|\"(?:\\.|[^\"\\\n])*\"?|'(?:\\.|[^'\\\n])*'?|([A-Za-z_]\w*)|(\d[\w.]*)"
                    rb"|(->|\+\+|--|<<|>>|[<>=!&|+*/%^-]=|&&|\|\||[^\s\w])", re.S | re.M)


def runs_of(sources: Iterable[bytes]) -> Runs:
    """Returns the runs of tokens of some C sources. The names of functions that are called stay, other names are all the same."""
    found: Set[int] = set()
    for source in sources:
        tokens: List[str] = []
        for match in _TOKEN.finditer(source[:MOST_BYTES]):
            if match[1]:
                word = match[1].decode()
                called = source[match.end():match.end() + 2].lstrip().startswith(b"(")
                tokens.append(word if called or word in _KEYWORDS else "name")
            elif match[2]:
                tokens.append("0")
            elif match[3]:
                tokens.append(match[3].decode("latin-1"))
            elif match[0][:1] in b"\"'":
                tokens.append("text")
        found.update(hash(tuple(tokens[start:start + SIZE])) for start in range(len(tokens) - SIZE + 1))
    return frozenset(found)


def _sources(directory: Path) -> List[bytes]:
    return [path.read_bytes() for path in sorted(directory.glob("*.[ch]"))]


def alike(programs: Mapping[str, Runs], handed_out: Runs) -> List[Tuple[float, List[str]]]:
    """Returns the names of programs that are nearly the same, and how alike they are, 0.8 to 1.0; the most alike first."""
    same: Dict[Runs, List[str]] = {}
    for name, runs in programs.items():
        own = runs - handed_out
        if len(own) >= LEAST:
            same.setdefault(own, []).append(name)
    found = [(1.0, names) for names in same.values() if len(names) > 1]
    having: Dict[int, List[int]] = {}
    groups = list(same.items())
    for number, (own, _) in enumerate(groups):
        for run in own:
            having.setdefault(run, []).append(number)
    limit = min(MOST, max(SHARED, len(groups) // 10))
    count = [0] * len(groups)
    common: Dict[Tuple[int, int], int] = {}
    for numbers in having.values():
        if len(numbers) <= limit:
            for number in numbers:
                count[number] += 1
            for pair in combinations(numbers, 2):
                common[pair] = common.get(pair, 0) + 1
    for (one, other), both in common.items():
        smaller = min(count[one], count[other])
        if smaller >= LEAST and both >= ALIKE * smaller:
            found.append((both / smaller, [*groups[one][1], *groups[other][1]]))
    return sorted(found, key=lambda entry: (-entry[0], entry[1]))[:MOST_ENTRIES]


def search(out: Path, labs: Sequence[Lab], students: Sequence[Record], seconds: float = SECONDS) -> Tuple[List[Record], List[str]]:
    """Returns the entries of `similar` in results.json, and the names of labs that were not compared, as time was up.

    Members of one group of the roster are not compared with each other.
    """
    until = time.monotonic() + seconds
    found: List[Record] = []
    left: List[str] = []
    group = {student["folder"]: student["group"] for student in students}
    for lab in labs:
        programs: Dict[str, Runs] = {}
        for student in students:
            if student["labs"][lab.name]["state"] != exports.MISSING and time.monotonic() < until:
                programs[student["folder"]] = runs_of(_sources(out / "students" / student["folder"] / "labs" / lab.name))
        if time.monotonic() >= until:
            left.append(lab.name)
            continue
        for likeness, folders in alike(programs, runs_of(_sources(lab.directory))):
            groups = {group[folder] for folder in folders}
            if len(groups) > 1 or groups == {""}:
                found.append({"lab": lab.name, "likeness": round(likeness, 2), "students": folders})
    return found, left


def export(source: Path, out: Path) -> int:
    """Writes the programs of a graded course for JPlag and MOSS: OUT/NN_name/submissions/STUDENT, and OUT/NN_name/base."""
    everything = results_directory.results(source)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(plain(f"{out} exists and is not empty: name another directory with OUT=", 1000))
    written = 0
    for lab in [find(one["name"]) for one in everything["labs"]]:
        for student in everything["students"]:
            folder = Path(student["folder"]).name
            for path in sorted((source / "students" / folder / "labs" / lab.name).glob("*.[ch]")):
                write_whole(out / lab.name / "submissions" / folder / path.name, path.read_text(encoding="utf-8", errors="replace"))
                written += 1
        for path in sorted(lab.directory.glob("*.[ch]")):
            write_whole(out / lab.name / "base" / path.name, path.read_text(encoding="utf-8"))
    print(plain(f"{out}: {written} files of {len(everything['students'])} students. For each lab, in {out}/NN_name:", 1000))
    print("  java -jar jplag.jar -l c -bc base submissions")
    print("  moss -l c -d $(printf -- '-b %s ' base/*.c) submissions/*/*.c")
    return 0
