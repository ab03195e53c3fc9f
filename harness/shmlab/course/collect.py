"""`make collect`: copies each student's repository as it was at a time, to a directory that `make grade` reads.

Repositories are untrusted. git only fetches, into a bare repository in a temporary directory: nothing is checked out, so no hook,
filter or submodule runs. The files are then read from the commit, and links are not made.
"""
from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Tuple

from . import intake
from .course_file import read_time
from .exports import FORMULA
from .tables import first_of, folded, read_rows
from .unpack import IGNORED, MAX_DEPTH
from ..labs import UserError
from ..results import plain, write_whole

TIMES = intake.TIMES
MARK = intake.COLLECTED
VERSION = 1
SECONDS = 120  # for one command of git
PACK_BYTES = 256 << 20  # of one file that git writes
MAX_FILE = 4 << 20  # bytes of one file
MAX_ALL = 64 << 20  # bytes of all files of a repository
MAX_FILES = intake.MAX_FILES
_URL = re.compile(r"(https|ssh|file)://[^\s\x00-\x1f]+|[\w.-]+@[\w.-]+:[^\s\x00-\x1f:][^\s\x00-\x1f]*")
_BRANCH = re.compile(r"[\w][\w./-]*", re.ASCII)

# What the user or the repository could have set otherwise. Nothing is asked for, and no other program is started than ssh.
_SETTINGS = {"core.hooksPath": "/dev/null", "core.fsmonitor": "false", "core.bigFileThreshold": "16m", "fetch.unpackLimit": "1",
             "transfer.unpackLimit": "1", "submodule.recurse": "false", "fetch.recurseSubmodules": "false", "gc.auto": "0",
             "credential.interactive": "false",
             "protocol.allow": "never", "protocol.https.allow": "always", "protocol.ssh.allow": "always",
             "protocol.file.allow": "always"}


@dataclass(frozen=True)
class Repository:
    """A line of the list."""

    student: str
    url: str
    branch: str


@dataclass
class Collected:
    """What was found: the commit, when it was committed (seconds since the Epoch), and what the student should know."""

    commit: str = ""
    time: Optional[int] = None
    notes: List[str] = field(default_factory=list)


class _Refused(Exception):
    """What went wrong with one repository, in one sentence."""


def read_list(path: Path) -> List[Repository]:
    """Reads the list of repositories. Raises UserError, with one line of text, for a line that is not right."""
    found: List[Repository] = []
    first: Dict[str, str] = {}
    for row in read_rows(path, ("student", "url"), ("branch",), others=True):
        student, url, branch = (row.cells[name] for name in ("student", "url", "branch"))
        if not student or intake.shown_name(student)[1] or "/" in student or student.startswith(".") or FORMULA.match(student) \
                or student in IGNORED or intake.is_of_platform(student) or len(os.fsencode(student)) > 200 or student == TIMES:
            raise row.wrong("student", f"'{student}' cannot be the name of a submission's directory: allowed are at most 200 bytes without "
                            "'/' that do not begin with '.', '=', '+', '-' or '@'")
        if not _URL.fullmatch(url):
            raise row.wrong("url", "this is not the address of a repository: allowed are https://…, ssh://…, file:///… and git@host:path")
        if branch and (not _BRANCH.fullmatch(branch) or ".." in branch):
            raise row.wrong("branch", f"'{branch}' is not a branch: allowed are letters, digits and _ . / -")
        where = first.setdefault(folded(student), row.where)
        if where != row.where:
            raise row.wrong("student", f"'{student}' is on two lines, the first is {where}")
        found.append(Repository(student, url, branch))
    if not found:
        raise UserError(f"{path}: there is no student in it: write a line for each student, with the columns student, url, "
                        "branch (optional)")
    return found


def read_limit(text: str) -> int:
    """Returns the first second after what BY= names: the end of the minute, or of the day. Raises UserError."""
    try:
        when = read_time(text, "23:59")
    except ValueError:
        raise UserError(plain(f"BY={text} is not a time: write BY='2026-11-20 23:59', BY='2026-11-20 23:59+01:00', or BY=2026-11-20 for "
                              "the end of that day")) from None
    return int(when.replace(second=0).timestamp()) + 60


# ---- git --------------------------------------------------------------------------------------------------


def _environment() -> Dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name == "GIT_SSL_CAINFO"}
    return {**kept, "GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "/bin/false",
            "SSH_ASKPASS": "/bin/false", "GCM_INTERACTIVE": "never", "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=20",
            "GIT_NO_LAZY_FETCH": "1", "GIT_LFS_SKIP_SMUDGE": "1", "GIT_ATTR_NOSYSTEM": "1", "LC_ALL": "C"}


def _git(directory: Path, *words: str, given: bytes = b"", seconds: float = SECONDS) -> bytes:
    """Runs git with limits. Returns its output. Raises _Refused if it fails, takes too long or writes too much."""
    limited = f'ulimit -f {PACK_BYTES // 512}; ulimit -t {int(seconds) + 1}; exec git "$@"'
    settings = [word for key, value in _SETTINGS.items() for word in ("-c", f"{key}={value}")]
    # The limit on the size of a file is one on the output, too: a commit can name more files than fit into memory.
    with tempfile.TemporaryFile() as written, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(["sh", "-c", limited, "git", *settings, *words], cwd=directory, env=_environment(),
                                   stdin=subprocess.PIPE, stdout=written, stderr=errors, start_new_session=True)
        try:
            process.communicate(given, seconds)
        except subprocess.TimeoutExpired:
            raise _Refused(f"git took more than {seconds:g} s") from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        written.seek(0)
        errors.seek(0)
        if process.returncode == 0:
            return written.read()
        text = errors.read(1 << 16).decode("utf-8", "replace").strip()
    if process.returncode == -signal.SIGXFSZ or "index-pack" in text:  # which a signal ended, or which found what is no repository
        raise _Refused(f"it has more than {PACK_BYTES >> 20} MiB, or is damaged")
    lines = text.splitlines() or [f"git ended with status {process.returncode}"]
    said = next((line for line in lines if line.startswith(("fatal:", "ERROR:", "error:"))), lines[-1])
    raise _Refused(plain(re.sub(r"\b\w+://\S+", "the address", said)))  # which may have a password in it


def _entries(listed: bytes) -> Iterator[Tuple[str, str, int, List[str]]]:
    """Reads the output of `git ls-tree -r -z -l`: the mode, the object, its size, and the parts of the path."""
    for line in filter(None, listed.split(b"\0")):
        head, _, name = line.partition(b"\t")
        mode, _, identifier, size = head.decode("ascii").split()
        yield mode, identifier, int(size) if size.isdigit() else 0, os.fsdecode(name).split("/")


def _copy_files(git: Path, commit: str, target: Path, notes: List[str]) -> None:
    """Writes the files of a commit. What is too large, too deep or not a file is left out, with a note."""
    left = MAX_ALL
    wanted: List[Tuple[str, List[str]]] = []
    for mode, identifier, size, parts in _entries(_git(git, "ls-tree", "-r", "-z", "-l", "--full-tree", commit)):
        shown = plain("/".join(parts).encode("utf-8", "backslashreplace").decode(), 200)
        why = "is a symbolic link: not followed" if mode == "120000" else "is a submodule: not read" if mode == "160000" else \
            f"has more than {MAX_FILE >> 20} MiB: left out" if size > MAX_FILE else \
            "has a path outside the repository: left out" if any(part in ("", ".", "..", ".git") for part in parts) else \
            f"is more than {MAX_DEPTH} directories deep: not read" if len(parts) > MAX_DEPTH + 1 else ""
        if why:
            notes.append(f"{shown} {why}")
        elif size > left or len(wanted) >= MAX_FILES:
            notes.append(f"the repository has more than {MAX_FILES} files, or {MAX_ALL >> 20} MiB of them: the others were left out")
            break
        else:
            left -= size
            wanted.append((identifier, parts))
    for identifier, parts in wanted:
        path = target.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    contents = io.BytesIO(_git(git, "cat-file", "--batch", given="".join(f"{one}\n" for one, _ in wanted).encode()))
    for identifier, parts in wanted:
        head = contents.readline().split()
        if len(head) != 3 or head[1] != b"blob":
            raise _Refused(f"object {identifier} is missing")
        target.joinpath(*parts).write_bytes(contents.read(int(head[2])))
        contents.read(1)


def collect(one: Repository, limit: int, target: Path) -> Collected:
    """Writes a repository's files, at the branch's last commit before a time, to `target`. Whatever goes wrong is a note."""
    found = Collected()
    with tempfile.TemporaryDirectory(prefix="shmlab-collect-") as scratch:
        git = Path(scratch, "repository.git")
        try:
            branch = ["--branch", one.branch] if one.branch else []
            _git(Path(scratch), "clone", "--quiet", "--bare", "--single-branch", "--no-tags", "--template=", *branch, "--", one.url,
                 str(git))
            # The branch's own commits: what was merged later counts from the merge on.
            line = _git(git, "rev-list", "--first-parent", "--max-count=1", f"--min-age={limit - 1}", "--timestamp", "--all").split()
            if not line:
                raise _Refused("the branch has no commit from before the deadline")
            found.time, commit = int(line[0]), line[1].decode("ascii")
            target.mkdir()
            _copy_files(git, commit, target, found.notes)
            for path in target.rglob("*"):
                os.utime(path, (found.time, found.time))
            found.commit = commit
        except (_Refused, OSError, ValueError) as error:
            shutil.rmtree(target, ignore_errors=True)
            reason = str(error) if isinstance(error, _Refused) else f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}"
            return Collected(notes=[plain(f"the repository could not be collected: {reason}", intake.MAX_NOTE)])
    found.notes[:] = [plain(note, intake.MAX_NOTE) for note in found.notes[:intake.MAX_NOTES]]
    return found


# ---- the directory ----------------------------------------------------------------------------------------


def _read_mark(out: Path) -> Dict[str, Dict[str, object]]:
    """Returns what was collected before. Raises UserError if the directory has something else in it."""
    if out.is_dir() and os.listdir(out) and not (out / MARK).exists():
        raise UserError(plain(f"the repositories cannot go to {out}: it has {sorted(os.listdir(out))[0]!a}, and no mark of `make collect` "
                              f"({MARK}); name another directory with OUT=", 1000))
    return intake.collected(out)


def main(listed: Path, by: str, out: Path, jobs: int) -> int:
    """Collects all repositories of a list. Returns 0, or 1 if one could not be collected."""
    if not shutil.which("git"):
        raise UserError("there is no git on this machine: install it")
    limit, repositories = read_limit(by), read_list(listed)
    students = _read_mark(out)
    strange = [one.student for one in repositories if one.student not in students and (out / one.student).exists()]
    if strange:
        raise UserError(plain(f"{out} has {strange[0]}, which `make collect` did not write: move it away, or name another directory "
                              "with OUT=", 1000))
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / MARK, json.dumps({"version": VERSION, "students": students}, indent=1) + "\n")
    failed = 0
    with tempfile.TemporaryDirectory(prefix=".collect-", dir=out) as scratch:
        def fetch(number: int) -> Collected:
            return collect(repositories[number], limit, Path(scratch, str(number)))

        pool = ThreadPoolExecutor(jobs)
        try:
            for number, found in enumerate(pool.map(fetch, range(len(repositories)))):
                student, target = repositories[number].student, out / repositories[number].student
                if found.commit or not target.exists():
                    shutil.rmtree(target, ignore_errors=True)
                    Path(scratch, str(number)).mkdir(exist_ok=True)
                    os.replace(Path(scratch, str(number)), target)
                    students[student] = {"commit": found.commit, "time": found.time, "notes": found.notes}
                else:
                    students[student]["notes"] = [f"{note}; the files that were collected before count" for note in found.notes]
                for note in found.notes:
                    print(f"{student}: {note}")
                failed += not found.commit
        finally:
            pool.shutdown(cancel_futures=True)
    _write_times(out, students)
    write_whole(out / MARK, json.dumps({"version": VERSION, "collected": int(time.time()), "by": by, "students": students},
                                       indent=1) + "\n")
    others = sorted(students.keys() - {one.student for one in repositories})
    if others:
        print(f"{len(others)} of {out} {'is' if len(others) == 1 else 'are'} not in the list and stay: {first_of(others)}", file=sys.stderr)
    print(f"{len(repositories) - failed} of {len(repositories)} repositories collected in {out}; the times of their commits are in "
          f"{out / TIMES}")
    return 1 if failed else 0


def _write_times(out: Path, students: Dict[str, Dict[str, object]]) -> None:
    """Writes what `times` in the course file may name: the time of each commit, as its author's machine set it."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\r\n")
    rows.writerow(["student", "handed in"])
    for student, one in sorted(students.items()):
        if isinstance(one["time"], int):
            rows.writerow([student, datetime.fromtimestamp(one["time"], timezone.utc).isoformat(" ", "seconds")])
    write_whole(out / TIMES, text.getvalue())
