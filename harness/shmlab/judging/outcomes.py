"""Decides what the exception of a check means: FAILED, with what was seen, or ERROR if the machine or the harness failed."""
from __future__ import annotations

import errno
import os
import re
import resource
import stat
from typing import Any, List, Optional, Tuple

import pytest

from ..labs import Lab
from ..results import ERROR, FAILED, Outcome
from ..sandbox.build import BuildProblem
from ..sandbox.channel import EXIT_EXEC, BoxedProcess, BoxRefused
from . import feedback
from .causes import COMPILES, FINISHED
from .fixture import LabFixture
from .require import CheckFailed

#: Errors that a program cannot have caused in the harness.
HARNESS_ERRORS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EFBIG, errno.EAGAIN)

#: The limits of this process that make a call fail so: what they limit, and the shell's option.
_LIMITS = {errno.EMFILE: (resource.RLIMIT_NOFILE, "open files", "-n"),
           errno.ENOMEM: (resource.RLIMIT_AS, "bytes of memory", "-v"),
           errno.EFBIG: (resource.RLIMIT_FSIZE, "bytes in a file", "-f"),
           errno.EAGAIN: (resource.RLIMIT_NPROC, "processes", "-u")}


def limit_behind(error: BaseException) -> str:
    """One line about the limit of this process that an error comes from; empty if it has no such limit."""
    if not isinstance(error, OSError) or error.errno not in _LIMITS:
        return ""
    kind, what, option = _LIMITS[error.errno]
    most = resource.getrlimit(kind)[1]
    return "" if most == resource.RLIM_INFINITY else (
        f"{os.strerror(error.errno)}: the limit here is {most} {what} (ulimit -H {option}), and this check needs more: "
        "use a machine with a higher limit")


#: The limits that the box itself sets, as native/box/confine.c has them.
_BOX_LIMITS = {errno.EAGAIN: 128, errno.EMFILE: 256, errno.ENOMEM: 2048 << 20, errno.EFBIG: 1024 << 20}


def _limit_met(fixture: LabFixture) -> Optional[OSError]:
    """Returns the error that a program met because a limit of this machine is lower than the box's own; None if it met none."""
    lower = [number for number, (kind, _, _) in _LIMITS.items() if 0 <= resource.getrlimit(kind)[1] < _BOX_LIMITS[number]]
    met = next((call.error for call in (fixture.read_calls()[::-1] if lower else []) if call.error in lower and not call.injected
                and all(size <= _BOX_LIMITS[call.error] for size in call.sizes)), 0)
    return OSError(met, os.strerror(met)) if met else None


SHM_BYTES = 64 << 20  # of /dev/shm, in a box of its own


def shared_memory_refused(fixture: LabFixture) -> Optional[OSError]:
    """Returns the error if the machine's own /dev/shm refused what a program needed, and a box's own would not; else None.

    It may be read-only for programs, or smaller than that of a box: then a reservation fails, or a store has no page.
    """
    if fixture.private_ipc:
        return None
    space, failed = os.fstatvfs(fixture.box.shm_fd), [call for call in fixture.read_calls() if call.error and not call.injected]
    denied = space.f_flag & os.ST_RDONLY or not os.fstat(fixture.box.shm_fd).st_mode & stat.S_IWOTH
    if denied and any(call.name in ("shm_open", "sem_open") and call.error in (errno.EACCES, errno.EROFS) for call in failed):
        return OSError(errno.EACCES, "programs may not make objects there; as root: mount -o remount,rw,mode=1777 /dev/shm", "/dev/shm")
    free = space.f_bavail * space.f_frsize
    refused = any(call.name == "posix_fallocate" and call.error == errno.ENOSPC and call.arguments[2] <= SHM_BYTES for call in failed)
    no_page = free < SHM_BYTES >> 10 and any(
        program.finished and program.finished.signal == "SIGBUS" for program in fixture.history)
    if free >= SHM_BYTES or not space.f_blocks or not (refused or no_page):
        return None
    return OSError(errno.ENOSPC, f"only {free >> 10} KiB are free, and a check needs up to {SHM_BYTES >> 20} MiB; as root: "
                   f"mount -o remount,size={SHM_BYTES >> 20}m /dev/shm", "/dev/shm")


#: What to do about an error of the machine, which a check met.
REMEDIES = {
    errno.ENOSPC: "free some space in /tmp, /dev/shm and the project's directory, then check again",
    errno.EDQUOT: "free some of your disk quota, then check again",
    errno.ENOMEM: "end other programs on this machine, then check again",
    errno.EMFILE: "raise the limit of open files (ulimit -n), then check again",
    errno.ENFILE: "end other programs on this machine, then check again",
    errno.EACCES: "run `make doctor`, and check who owns the project's directory and what its mode is",
    errno.EPERM: "run `make doctor`: it reports what this machine allows",
    errno.EROFS: "unpack the project in a directory that you can write to",
}
CHECK_AGAIN = "check again; if the error comes back, report it to the person who runs the lab"


def sentence_of(item: Any) -> str:
    """Returns the requirement that a check states: the first paragraph of its docstring."""
    return " ".join((item.function.__doc__ or item.name).strip().split("\n\n")[0].split())


def outcome_of(item: pytest.Item, this: Lab, error: Optional[BaseException], seconds: float) -> Outcome:
    """Returns the outcome of a check that ended with this exception, or with None."""
    marker = item.get_closest_marker("points")
    outcome = Outcome(this.name, item.name, sentence_of(item), marker.args[0] if marker else 0,
                      read=marker.kwargs.get("read", "") if marker else "", seconds=round(seconds, 4))
    fixture: Optional[LabFixture] = getattr(item, "funcargs", {}).get("lab")
    outcome.explored = fixture.schedules_run if fixture else {}
    if error is None:
        return outcome
    outcome.status = FAILED
    if fixture:
        fixture.stop()
    if isinstance(error, BuildProblem):
        first, _, rest = str(error).partition("\n")
        outcome.expected, outcome.saw = COMPILES, [first, *rest.splitlines()[:10]]
        return outcome
    ours = (not_executed(fixture) or shared_memory_refused(fixture) or _limit_met(fixture)) if fixture and isinstance(
        error, CheckFailed) else None
    if ours:
        return error_of(outcome, ours)
    if isinstance(error, CheckFailed):
        outcome.expected, outcome.saw = error.expected, error.saw
        if fixture:
            # If one program is unfinished, that may be why another one fails, so it is reported instead.
            said = [(program.name, bytes(program.started.output[2]).decode("utf-8", "replace"))
                    for program in [*filter(None, [fixture.subject]), *fixture.history[::-1]]]
            said += [(run.command.split()[0], run.stderr) for run in (fixture.end.runs if fixture.end else [])]
            for name, stderr in said:
                # The code that cleans up may be unfinished, too. The last TODO in the output is where the program stopped.
                todos = re.findall(r"TODO \d+[^/\n]*", stderr)
                if todos:
                    outcome.expected = FINISHED
                    outcome.saw = [f"{name}.c stopped at its {todos[-1].rstrip(' :')}"]
                    outcome.read = f"labs/{outcome.lab}/README.md, Steps"
                    return outcome
            # The command line does not show what the check or another process did, so the message says it.
            had = ", and ".join(fixture.preparations[-3:])
            if had and fixture.end:  # what it started has ended
                outcome.saw = [*outcome.saw, f"(before these steps, this check had {had})".replace(" beside it", "")]
            elif had:
                outcome.saw = [*outcome.saw, f"(this check had {had})"]
            if fixture.end:
                outcome.calls, outcome.by_hand = fixture.end.shortened(), feedback.replay(fixture)
            else:
                outcome.calls, outcome.by_hand = feedback.recent_calls(fixture), feedback.reproduce(fixture, error.saw)
        return outcome
    seen = seen_of(error, fixture) if fixture and isinstance(error, OSError) and error.errno not in HARNESS_ERRORS else None
    if seen:
        outcome.expected, outcome.saw = seen
        outcome.calls = feedback.recent_calls(fixture) if fixture else []
        return outcome
    return error_of(outcome, error)


def seen_of(error: OSError, fixture: LabFixture) -> Optional[Tuple[str, List[str]]]:
    """Returns what was expected and seen if a program caused an error in the check, which must be seen; else None."""
    changes = fixture.changes(error.filename)
    if changes:
        return "the program does not change what the check created", [*changes, f"so the check failed: {error.strerror}"]
    pid = fixture.ended_early(error.filename)
    ended = next((program for program in fixture.history if program.pid == pid), None) if pid else None
    if ended:
        return f"{ended.name} still runs when the check examines it", ended.wait().ending
    return None


def error_of(outcome: Outcome, error: BaseException) -> Outcome:
    """Makes this the outcome of a check that could not be finished for a reason of the machine or the harness."""
    outcome.status = ERROR
    outcome.expected = "the check itself works: this is not your fault"
    if isinstance(error, BoxRefused):
        outcome.saw = [f"the box stopped working: {error}"]
    elif isinstance(error, OSError) and limit_behind(error):
        outcome.saw = [limit_behind(error)]
        return outcome
    elif isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        outcome.saw = [f"{errno.errorcode.get(error.errno or 0, 'OSError')}: {where}{error.strerror or error}"]
    else:
        outcome.saw = [f"{type(error).__name__}: {error}"]
    number = error.errno if isinstance(error, OSError) else None
    outcome.saw.append("what to do: " + REMEDIES.get(number or 0, CHECK_AGAIN))
    return outcome


def _refused(started: BoxedProcess) -> Optional[OSError]:
    """Returns what the box said if it could not execute a program. A program could say the same: see not_executed()."""
    said = re.fullmatch(r"box: ([^:\n]+): (.+)\n?", bytes(started.output[2]).decode("utf-8", "replace"))
    if not said or started.status != EXIT_EXEC << 8:
        return None
    number = next((number for number in errno.errorcode if os.strerror(number) == said.group(2)), 0)
    return OSError(number, f"the box could not execute {os.path.basename(started.argv[0])}, at {said.group(1)}: {said.group(2)}")


def not_executed(fixture: LabFixture) -> Optional[OSError]:
    """Returns the error if the box could not execute the program that a failure is about, or one of the harness's own.

    None if they ran, or if the student's was replaced.
    """
    ours = next(filter(None, (_refused(started) for started in fixture.box.programs.values() if started.trusted)), None)
    if ours:
        return ours
    program = fixture.subject
    if not program or not program.finished or program.recorded() or not fixture.has_executable(program.built):
        return None
    return _refused(program.started)
