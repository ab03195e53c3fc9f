"""The directory of results: what in it is ours, whose results each directory holds, and who may write to it.

A file of ours marks the directory, and one marks each student's directory in it. What has no mark is left alone. A student's
mark says whose it is and what was found, so that a student who is not graded this time stays in all tables.
"""
from __future__ import annotations

import fcntl
import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional, Set, Tuple

from .intake import IntakeResult, Submission
from ..labs import UserError
from ..results import plain, write_whole

MARK = ".shmlab-results"
SLICE = ".shmlab-slice"  # says which slice of a course this is, see slices.py
VERSION = 1  # of the marks
RESULTS_VERSION = 1  # of results.json, see docs/grading.md


class Lock:
    """Lets one grading at a time work in a directory of results."""

    def __init__(self, out: Path) -> None:
        try:
            out.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(out / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise UserError(plain(f"cannot write to {out}: {error.strerror}; name another directory with OUT=", 1000)) from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(plain(f"another `make grade` is running in {out}: wait for it, or name another directory with OUT=",
                                  1000)) from None

    def release(self) -> None:
        os.close(self._fd)


@dataclass
class Before:
    """What the mark of a student's directory says: whose it is, what was found, and in which labs files were looked for."""

    submission: Submission
    taken: IntakeResult = field(default_factory=IntakeResult)
    examined: Set[str] = field(default_factory=set)

    def with_labs_of(self, old: "Before", but: Set[str]) -> "Before":
        """Returns the same with the labs of a run before, but without the labs `but`."""
        labs = {name: notes for name, notes in old.taken.labs.items() if name not in but}
        times = {name: time for name, time in old.taken.times.items() if name not in but}
        taken = IntakeResult(self.taken.notes, {**labs, **self.taken.labs}, {**times, **self.taken.times})
        return Before(self.submission, taken, old.examined | self.examined)

    def write(self, out: Path) -> None:
        one = self.submission
        write_whole(out / "students" / one.directory / MARK, json.dumps({
            "version": VERSION, "name": one.name, "platform": one.platform, "platform_id": one.platform_id, "late": one.late,
            "entries": one.entries, "notes": self.taken.notes, "examined": sorted(self.examined),
            "labs": {name: {"notes": notes, "time": self.taken.times.get(name)} for name, notes in self.taken.labs.items()}},
            indent=1) + "\n")


def identity(one: Submission) -> Tuple[str, str]:
    """Returns what tells a student from all others: the platform's id, else the name."""
    return (one.platform, one.platform_id) if one.platform_id else ("", one.name)


def _from_mark(directory: str, data: Dict[str, Any]) -> Before:
    labs = {str(name): [str(note) for note in lab["notes"]] for name, lab in data["labs"].items()}
    times = {str(name): float(lab["time"]) for name, lab in data["labs"].items() if lab["time"] is not None}
    one = Submission(str(data["name"]), directory, [], str(data["platform"]), str(data["platform_id"]), data["late"],
                     entries=[str(name) for name in data.get("entries", [])])
    return Before(one, IntakeResult([str(note) for note in data["notes"]], labs, times), {str(name) for name in data["examined"]})


def read_mark(out: Path, directory: str) -> Optional[Before]:
    """Returns what the mark of a directory below students/ says; None if it has none."""
    path = out / "students" / directory / MARK
    try:
        return _from_mark(directory, _load(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(plain(f"{path} is not as `make grade` wrote it ({type(error).__name__}: {error}): remove its directory; "
                              "the attempt in it then no longer counts", 1000)) from None


def _from_record(record: Dict[str, Any]) -> Before:
    """The same from results.json of the version that set no marks."""
    graded = {name: lab for name, lab in record["labs"].items() if lab["state"] != "missing"}
    late = any(lab["days_late"] for lab in graded.values()) if record["platform"] == "canvas" else None
    times = {name: datetime.fromisoformat(lab["handed_in"]).timestamp() for name, lab in graded.items() if lab["handed_in"]}
    one = Submission(record["name"], record["folder"], [], record["platform"], record["platform_id"], late)
    return Before(one, IntakeResult(record["notes"], {name: lab["notes"] for name, lab in graded.items()}, times),
                  set(record["labs"]))


def _strange(out: Path, why: str) -> UserError:
    return UserError(plain(f"the results cannot go to {out}: {why}; nothing was changed. "
                           "Name another directory with OUT=, or move away what is there", 1000))


def _load(path: Path) -> Dict[str, Any]:
    data = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(data, dict) or not isinstance(data.get("version"), int):
        raise ValueError("it has no version")
    return data


def read(out: Path) -> List[Before]:
    """Returns what is in the directory from runs before. Changes nothing.

    Raises UserError if there is something else in it. The version that set no marks is known by its results.json.
    """
    try:
        names = sorted(os.listdir(out))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(plain(f"cannot write to {out}: {error.strerror}; name another directory with OUT=", 1000)) from None
    found: List[Before] = []
    path = out
    try:
        if MARK in names:
            path = out / MARK
            if _load(path)["version"] > VERSION:
                raise _strange(out, "a newer version of the lab wrote these results")
            for path in sorted((out / "students").glob(f"*/{MARK}")):
                found.append(_from_mark(path.parent.name, _load(path)))
        elif "results.json" in names and (out / "students").is_dir():
            path = out / "results.json"
            data = _load(path)
            if data["version"] != RESULTS_VERSION:
                raise _strange(out, f"its results.json has version {data['version']}, which this version of the lab does not know")
            found = [_from_record(record) for record in data["students"]]
            found = [one for one in found if Path(one.submission.directory).name == one.submission.directory
                     and (out / "students" / one.submission.directory).is_dir()]
        else:
            foreign = [name for name in names if name not in (".lock", SLICE) and not name.startswith((f".{MARK}.", f".{SLICE}."))]
            if foreign:
                raise _strange(out, f"it has {foreign[0]!a}, and no mark of `make grade` ({MARK})")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _strange(out, f"{path} is not as `make grade` wrote it ({type(error).__name__}: {error})") from None
    return found


def results(out: Path) -> Dict[str, Any]:
    """Returns the content of results.json. Raises UserError if the directory has none."""
    path = out / "results.json"
    try:
        data = _load(path)
        if data["version"] != RESULTS_VERSION:
            raise ValueError(f"it has version {data['version']}, which this version of the lab does not know")
        if not all(isinstance(data.get(key), list) for key in ("labs", "students")):
            raise ValueError("it has no list of labs or of students")
        return data
    except FileNotFoundError:
        raise UserError(plain(f"there is no {path}: name a directory that `make grade` wrote with FROM=", 1000)) from None
    except (OSError, ValueError) as error:
        raise UserError(plain(f"{path} is not as `make grade` wrote it: {error}", 1000)) from None


def results_before(out: Path) -> Optional[Dict[str, Any]]:
    """Returns the content of results.json of the run before; None if there is none, or none that is known here."""
    try:
        return results(out)
    except UserError:
        return None


def settle(submissions: Iterable[Submission], before: List[Before], out: Path) -> None:
    """Gives each submission its directory: the one of runs before, else one whose name nothing has. Changes nothing on disk.

    One without files, of a student who handed in nothing, does not take a directory with results.
    """
    known: Dict[Tuple[str, str], List[Before]] = {}
    for old in before:
        known.setdefault(identity(old.submission), []).append(old)
    used = {one.submission.directory.casefold() for one in before}
    for entry in os.scandir(out / "students") if (out / "students").is_dir() else []:
        # A run that was killed may have left a directory without its mark, with nothing in it.
        if not entry.is_dir(follow_symlinks=False) or any(not name.startswith(f".{MARK}.") for name in os.listdir(entry.path)):
            used.add(entry.name.casefold())
    for one in submissions:
        wanted, number = one.directory, 1
        own = [old for old in known.get(identity(one), []) if one.sources or not old.examined]
        if own:
            known[identity(one)].remove(own[0])
        one.directory = own[0].submission.directory if own else ""
        while not one.directory:
            name = wanted if number == 1 else f"{wanted}-{number}"
            if name.casefold() not in used:
                one.directory = name
            number += 1
        used.add(one.directory.casefold())


_STALE = re.compile(r'<p class="note" id="stale">.*?</p>\n', re.S)


def mark_page(page: Path, began: str) -> None:
    """Says at the top of a page that it is of the run before, if there is that page. The next page in its place does not say so."""
    with suppress(FileNotFoundError):
        text = page.read_text(encoding="utf-8")
        if _STALE.search(text) is None:
            note = f"This page is from the previous run. A run that began at {began} has not ended: run the same command again."
            write_whole(page, text.replace("<body>\n", f'<body>\n<p class="note" id="stale">{note}</p>\n', 1))


def unfinished(out: Path) -> str:
    """Returns when the last run began if it has not ended, so that the results are older than the outcomes; else an empty text."""
    try:
        return str(_load(out / MARK).get("began", ""))
    except (OSError, ValueError):
        return ""


def end(out: Path) -> None:
    """Marks the last run as ended."""
    write_whole(out / MARK, json.dumps({"version": VERSION}) + "\n")


def mark(submissions: Iterable[Submission], before: List[Before], out: Path, began: str = "") -> None:
    """Marks the directory, and those of these submissions that have no mark yet. With the time when
    the run began, it counts as not ended until end()."""
    for one in before:
        if not (out / "students" / one.submission.directory / MARK).exists():
            one.write(out)
    write_whole(out / MARK, json.dumps({"version": VERSION, **({"began": began} if began else {})}) + "\n")
    if began:
        mark_page(out / "index.html", began)
    known = {one.submission.directory for one in before}
    for submission in submissions:
        if submission.directory not in known:
            Before(submission).write(out)
