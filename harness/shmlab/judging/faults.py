"""Makes the calls of a student's program fail, one after the other, and checks what the program does about it."""
from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Sequence, Tuple, Union

from .require import require
from .run import Run

if TYPE_CHECKING:
    from .fixture import LabFixture

StopAt = Union[str, Tuple[str, int], Tuple[str, int, str]]
Fail = Union[Tuple[str, int, int], Tuple[str, int, int, str]]

#: Each call that a check may make fail, and the error with which it fails, a plausible one for that call.
FAILURES: Dict[str, int] = {
    "ftok": errno.ENOENT, "shmget": errno.ENOSPC, "shmat": errno.ENOMEM, "shmdt": errno.EINVAL,
    "shmctl": errno.EPERM, "shm_open": errno.EMFILE, "shm_unlink": errno.EACCES, "memfd_create": errno.EMFILE,
    "ftruncate": errno.EFBIG, "posix_fallocate": errno.ENOSPC, "fallocate": errno.ENOSPC, "mmap": errno.ENOMEM,
    "munmap": errno.EINVAL, "mremap": errno.ENOMEM, "semget": errno.ENOSPC,
    "mprotect": errno.ENOMEM, "msync": errno.EIO, "sem_open": errno.EMFILE, "sem_close": errno.EINVAL,
    "sem_unlink": errno.EACCES, "sem_init": errno.ENOSYS, "sem_destroy": errno.EINVAL, "sem_wait": errno.EINVAL,
    "sem_timedwait": errno.EINVAL, "sem_post": errno.EOVERFLOW, "pthread_mutexattr_init": errno.ENOMEM,
    "pthread_mutexattr_setpshared": errno.EINVAL, "pthread_mutexattr_setrobust": errno.EINVAL,
    "pthread_mutex_init": errno.EAGAIN, "pthread_mutex_lock": errno.EINVAL, "pthread_mutex_unlock": errno.EPERM,
    "pthread_mutex_consistent": errno.EINVAL, "pthread_mutex_destroy": errno.EBUSY,
    "pthread_condattr_init": errno.ENOMEM, "pthread_condattr_setpshared": errno.EINVAL,
    "pthread_condattr_setclock": errno.EINVAL, "pthread_cond_init": errno.EAGAIN, "pthread_cond_wait": errno.EPERM,
    "pthread_cond_timedwait": errno.EPERM, "pthread_cond_signal": errno.EINVAL,
    "pthread_cond_broadcast": errno.EINVAL, "pthread_cond_destroy": errno.EBUSY, "pthread_create": errno.EAGAIN,
    "pthread_rwlock_init": errno.EAGAIN, "pthread_barrier_init": errno.EAGAIN,
    "open": errno.EMFILE, "openat": errno.EMFILE, "close": errno.EIO, "fstat": errno.EIO, "fcntl": errno.ENOLCK, "flock": errno.ENOLCK,
    "link": errno.EMLINK, "linkat": errno.EMLINK, "rename": errno.EACCES, "unlink": errno.EACCES,
    "socket": errno.EMFILE, "bind": errno.EACCES, "listen": errno.EOPNOTSUPP, "accept": errno.EMFILE,
    "connect": errno.ECONNREFUSED, "sendmsg": errno.ECONNRESET, "recvmsg": errno.ECONNRESET,
    "fork": errno.EAGAIN, "wait": errno.EINVAL, "waitpid": errno.EINVAL, "waitid": errno.EINVAL,
    "execve": errno.EACCES, "execv": errno.EACCES, "execvp": errno.EACCES, "execl": errno.EACCES,
    "execlp": errno.EACCES, "execle": errno.EACCES, "posix_spawn": errno.EAGAIN, "posix_spawnp": errno.EAGAIN,
}
_ALSO_CALLED = {"openat": "open", "linkat": "link"}  # in a program's message

MAX_FAILURES = 6  # of one call

#: The calls that clean up: if one of them fails, something may be left behind.
REMOVERS = ("shmctl", "shm_unlink", "sem_unlink", "unlink", "wait", "waitpid", "waitid")


def each_call_fails(lab: "LabFixture", scenario: Callable[..., Run], names: Sequence[str], skip: Sequence[str],
                    only: Sequence[str]) -> None:
    """Implements LabFixture.each_call_fails()."""
    first = scenario().require_success()
    program = lab.history[-1]
    to_fail: List[Tuple[str, int]] = []  # a call's name, and its number among the calls of that name
    for call in program.calls:
        if call.pid == program.pid and call.name in FAILURES and call.name not in skip and (
                not only or call.name in only):
            nth = 1 + sum(name == call.name for name, _ in to_fail)
            # A loop may make any number of calls, so only the first ones are made to fail.
            if nth <= MAX_FAILURES:
                to_fail.append((call.name, nth))
    require(to_fail or only, "the program makes calls that can fail", "the spy has recorded none")
    any_failed = False
    for name, nth in to_fail:
        lab.reset()
        lab.history.clear()
        number = FAILURES[name]
        run = scenario(fail=(name, nth, number))
        program = lab.history[-1]
        calls = program.calls
        # The spy records how many rules it has read.
        rule_counts = [call.result for call in calls if call.name == "start" and call.pid == program.pid]
        require(rule_counts[:1] in ([], [len(program.rules)]),
                "the program does not interfere with the spy, which makes the call fail", run.ending)
        if not program.started.injected:
            # This time the program did not make that call, so nothing failed, and it must end as it did the first time.
            require(run.exit_status == 0 and len(run.left_behind.lines) == len(first.left_behind.lines),
                    "the program does the same as before when no call fails", run.ending, run.left_behind.lines)
            continue
        any_failed = True
        times = "" if nth == 1 else f" the {nth}{'nd' if nth == 2 else 'rd' if nth == 3 else 'th'} time"
        story = f"{name}() failed{times} with {errno.errorcode[number]} (this check made it fail)"
        require(run.exit_status == 1, "the program notices the failure and ends with exit status 1", story, run.ending)
        require(run.says((name, name.split("attr_")[-1], _ALSO_CALLED.get(name, name), *names)),
                f"a message on stderr that names the call ({name}) or what it was called for", story, run.ending)
        require(not run.other_reason(number), "if the message includes a reason, it is the failing call's: "
                f"{os.strerror(number)}", story, run.ending)
        # If the call that failed was itself one that cleans up, something may be left behind.
        if name not in REMOVERS:
            require(not run.left_behind.lines, "the program removes what it created before it ends", story,
                    run.left_behind.lines)
    # A right program makes its first call each time.
    require(any_failed or not to_fail, "the program makes the recorded calls again",
            f"{', '.join(sorted({name for name, _ in to_fail}))}: made to fail one after the other, but none was made again")


def rules_of(stop_at: object, fail: object) -> List[str]:
    """Returns the rules for the options `stop_at` and `fail` of LabFixture.start(), in the format of native/spy/rules.c."""
    return [_stop_rule(item) for item in _as_list(stop_at)] + [_fail_rule(item) for item in _as_list(fail)]


def _as_list(item: object) -> List[Any]:
    if item is None:
        return []
    return list(item) if isinstance(item, list) else [item]


def _stop_rule(item: StopAt) -> str:
    name, nth, who = (item, 1, "p") if isinstance(item, str) else (*item, "p")[:3]
    return f"stop {name} {nth} {who}"


def _fail_rule(item: Fail) -> str:
    name, nth, number, who = (*item, "p")[:4]
    return f"fail {name} {nth} {number} {who}"
