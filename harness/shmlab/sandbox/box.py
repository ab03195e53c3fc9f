"""Starts programs in the box (native/box/) and reports how they end and what they leave behind.

There are two tiers. In `namespaces`, a box has its own processes, segments, objects, file systems and network, and all
of it is gone when the box is closed; see namespaces(7). `host` is for machines that refuse namespaces: the programs run
on the machine's own IPC, one box at a time, and what they leave behind is recognised by its owner and creator and removed.
"""
from __future__ import annotations

import errno
import fcntl
import os
import re
import select
import shutil
import stat
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, FrozenSet, Iterable, Iterator, List, Optional, Sequence, Set, Tuple, Union

from ..labs import ROOT
from . import cgroups, kernel, native
from .channel import BoxedProcess, BoxRefused, Channel

FIRST_LOOK_SECONDS, LOOK_SECONDS = 0.02, 0.25  # between two looks at whether anything can still happen: the first two, and later
MAX_SLEEPERS = 80  # processes; with more, looking at each of them takes too long
TURN_SECONDS = 1.0  # processor time after which a process is not starved any more; the labs' programs need milliseconds


@dataclass
class Contents:
    """What a box contains: segments, objects, processes (zombies too), and ids of semaphore sets and message queues."""

    segments: List[kernel.Segment] = field(default_factory=list)
    objects: List[kernel.Object] = field(default_factory=list)
    processes: List[kernel.Process] = field(default_factory=list)
    semaphores: List[int] = field(default_factory=list)
    queues: List[int] = field(default_factory=list)


#: The processors that this process was started with. The programs may use all of them, even if the harness pins itself to one.
PROCESSORS: FrozenSet[int] = frozenset(os.sched_getaffinity(0))

#: Further directories that the programs must not see: the other submissions, and the results of grading.
also_hidden: Set[str] = set()


def hidden_directories() -> List[str]:
    """Returns the directories that the programs must not see: the project, and the machine's home and scratch directories."""
    directories = {*also_hidden, str(ROOT), str(native.build_directory().resolve()), os.path.expanduser("~"),
                   "/root", "/home", "/var/tmp", "/mnt", "/media", "/srv"}
    real = {os.path.realpath(directory) for directory in directories if os.path.isdir(directory)}
    # A directory below another hidden one, or below /tmp or /run, is hidden with it.
    return sorted(directory for directory in real if directory != "/" and not any(
        directory.startswith(other + "/") for other in real | {"/tmp", "/run"} if other != directory))


def may_look_at_everybody() -> bool:
    """Whether this process has CAP_SYS_PTRACE, without which the kernel shows nobody the memory of another user's process."""
    found = re.search(r"^CapEff:\t([0-9a-f]+)$", Path("/proc/self/status").read_text(), re.M)
    return bool(found and int(found.group(1), 16) >> 19 & 1)


#: If the harness runs as root, the programs run as one of these users: a different one for each process that has a box.
USERS = range(60000, 64000)


LOCK_FILES = 16
SOCKETS = ("stops", "rules")  # in the run directory, see stops.c and rules.c


class HostLock:
    """Lets only one harness at a time use the machine's own IPC.

    The lock is recursive, because a harness may open a second box, for example to compile. Its file is removed with it.
    """

    depth = 0
    fd = -1
    path = ""

    @classmethod
    def take(cls) -> None:
        while cls.depth == 0:
            cls.fd, cls.path = cls._open()
            fcntl.flock(cls.fd, fcntl.LOCK_EX)
            try:
                if os.path.samestat(os.fstat(cls.fd), os.lstat(cls.path)):
                    break
            except FileNotFoundError:
                pass
            os.close(cls.fd)  # whoever had it has removed the file
        cls.depth += 1

    @classmethod
    def _open(cls) -> Tuple[int, str]:
        """The first of some files that is this user's own, open. Where others may make files too, one could be theirs."""
        for number in range(LOCK_FILES):
            path = os.path.join(tempfile.gettempdir(), f"shmlab-{os.getuid()}{f'-{number}' if number else ''}.lock")
            try:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EISDIR, errno.ELOOP, errno.ENXIO):
                    raise
                continue
            status = os.fstat(fd)
            if stat.S_ISREG(status.st_mode) and status.st_uid == os.getuid():
                return fd, path
            os.close(fd)
        raise BoxRefused(f"other users have taken the names of its lock files in {tempfile.gettempdir()}: set TMPDIR to a "
                         "directory of your own")

    @classmethod
    def drop(cls) -> None:
        cls.depth -= 1
        if cls.depth == 0:
            try:
                os.unlink(cls.path)
            except OSError:
                pass
            os.close(cls.fd)


def remove_tree(path: str) -> None:
    """Removes a directory and all in it, whatever modes the directories have. What cannot be removed stays."""
    for directory, _, _ in os.walk(path):  # from the top; a link to a directory is none
        os.chmod(directory, 0o700)
        for entry in os.scandir(directory):
            if entry.is_dir(follow_symlinks=False):
                try:
                    os.chmod(entry.path, 0o700)
                except OSError:
                    pass  # of another user: then this one is root, who needs no mode
    shutil.rmtree(path, ignore_errors=True)


class Box(Channel):
    """An isolated place to run programs in. Use it as a context manager: leaving it removes everything."""

    def __init__(self, tier: str, shm_mb: int = 64, memory_mb: int = 768, show: Sequence[str] = (), executes: bool = True,
                 processors: Iterable[int] = PROCESSORS) -> None:
        """Sets up a box.

        @param tier       "namespaces" or "host"
        @param shm_mb     size of /dev/shm in MiB
        @param memory_mb  limit of the memory of all its programs together, in MiB
        @param show       directories that its programs can read, besides those of native/box/mounts.c
        @param executes   whether its programs may execute others; those that start() starts then need a path
        @param processors those that its programs may use
        @throws BoxRefused  if the machine does not support it
        """
        self.tier = tier
        super().__init__()
        self.stuck = False  # whether the last wait ended because every process slept and none could wake another
        self.hang = ""  # or what made the caller give it up
        self._resettable = True  # False after a change that clean() cannot undo
        self._scratch: Optional[str] = None
        self._locked = False
        command = [str(native.box_program()), "--tier", tier, "--shm-mb", str(shm_mb), "--memory-mb",
                   str(memory_mb), "--slot", str(os.getpid() % len(USERS)), "--processors", ",".join(map(str, processors)),
                   "--executes", str(int(executes))]
        for directory in show:
            command += ["--show", directory]
        for directory in hidden_directories():
            command += ["--hide", directory]
        if tier == "host":
            command += self._prepare_host()
        self._group = self._make_group(memory_mb)
        fds = self._group.descriptors if self._group else []
        for option, fd in zip(("--group-procs", "--group-events"), fds):
            command += [option, str(fd)]
        with self._theirs as theirs:
            self._keeper = subprocess.Popen(command + ["--control", str(theirs.fileno())], stdin=subprocess.DEVNULL,
                                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                            pass_fds=[theirs.fileno(), *fds], cwd="/")
        if self._group:
            self._group.forget_descriptors()
        try:
            first, directories = self._receive(10.0)
            if first[0] != "ready":
                raise BoxRefused(" ".join(first[1:]) if first[0] == "refused" else "it ended at once")
        except BaseException:
            self.close()
            raise
        self.work, self.run, self.uid = first[2], first[3], int(first[4])
        #: Whether set_sysctl() can set limits of the box's own IPC: some kernels refuse. Pid 1 has tried.
        self.can_set_limits = first[5] == "1"
        #: With which one of our own executables may execute programs although programs may not: see native/box/seccomp.c.
        self.start_secret = first[6]
        self._looks_as_program = tier == "host" and self.has_own_user and not may_look_at_everybody()
        self.work_fd, self.run_fd, self.shm_fd, self.proc_fd = directories
        self._sockets = self._own_sockets()
        #: For the host tier: names of the objects, and pids of the processes, that the spy has recorded. Set by environment.py.
        self.claimed: Callable[[], Set[str]] = set
        self.claimed_pids: Callable[[], Set[int]] = set
        #: Whether expect() may wait for that many more seconds if other processes keep the processors busy.
        self.may_extend: Callable[[float], bool] = lambda seconds: True
        #: What was on the machine before: in namespaces, nothing.
        self._before = Contents() if tier == "namespaces" else self._read_contents()

    @property
    def has_own_user(self) -> bool:
        """Whether the programs run as a user of their own, which takes a root that may be such a user: pid 1 has asked."""
        return self.uid != os.getuid()

    # ---- setting up and closing

    @staticmethod
    def _make_group(memory_mb: int) -> Optional[cgroups.Group]:
        above = cgroups.parent()
        try:
            return cgroups.Group(above, memory_mb) if above else None
        except OSError:
            return None  # somebody has taken the group away meanwhile; pid 1 watches the memory in any case

    def _prepare_host(self) -> List[str]:
        HostLock.take()
        self._locked = True
        self._scratch = tempfile.mkdtemp(prefix="shmlab-")
        os.chmod(self._scratch, 0o755)
        directories = []
        for option in ("work", "run"):
            directory = os.path.join(self._scratch, option)
            os.mkdir(directory)
            os.chmod(directory, 0o777)
            directories += ["--" + option, directory]
        return directories

    def __enter__(self) -> "Box":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends every process in the box and removes everything they made."""
        if getattr(self, "shm_fd", -1) >= 0:
            if self.tier == "host":
                try:
                    self.clean()
                except (BoxRefused, OSError):
                    pass
            for program in list(self.programs.values()):
                self._forget(program)
            for fd in (self.work_fd, self.run_fd, self.shm_fd, self.proc_fd):
                os.close(fd)
            self.shm_fd = -1
        self._socket.close()
        # Popen.wait() with a time limit polls at growing intervals; a pidfd is readable as soon as the process has ended.
        ended = os.pidfd_open(self._keeper.pid)
        if not select.select([ended], [], [], 10)[0]:
            self._keeper.kill()
        os.close(ended)
        self._keeper.wait()
        if self._group:
            self._group.close()
        if self._scratch:
            remove_tree(self._scratch)
            self._scratch = None
        if self._locked:
            self._locked = False
            HostLock.drop()

    def describe_memory_limit(self) -> str:
        """Returns who limits the memory of the programs. Starts one to see whether it enters the box's control group."""
        if not self._group:
            return f"pid 1 of the box adds up the memory of all programs every 50 ms; no control group: {cgroups.why_none()}"
        self.start(["cat"], stdin=-1)  # it waits for input
        entered = (self._group.path / "cgroup.procs").read_text().strip()
        return "the kernel, by a control group for each box" if entered else \
            "pid 1 of the box adds up the memory of all programs every 50 ms: this kernel does not let them enter its control group"

    # ---- reading the state of the box

    @contextmanager
    def as_program(self) -> Iterator[None]:
        """For looking at the programs' processes: as their own user, where this one, root in a container, may not."""
        user, group = os.geteuid(), os.getegid()
        try:
            if self._looks_as_program:
                os.setegid(self.uid)
                os.seteuid(self.uid)
            yield
        finally:
            if self._looks_as_program:
                os.seteuid(user)
                os.setegid(group)

    def open(self, path: str, mode: str = "r") -> int:
        """Opens a file or directory of the box, by its path there, and returns the descriptor. Raises OSError like open(2).

        @param mode  "r" to read, "w" to read and write
        """
        if re.match(r"/proc/\d", path):
            # These files are the same for every reader. /proc/sysvipc and /proc/sys depend on the reader's namespaces.
            with self.as_program():
                return os.open(path[6:], (os.O_RDWR if mode == "w" else os.O_RDONLY) | os.O_CLOEXEC | os.O_NONBLOCK,
                               dir_fd=self.proc_fd)
        return self._ask("open", path, mode)[1][0]

    def read(self, path: str) -> bytes:
        """Returns the content of a file of the box, usually one in /proc."""
        with self.as_program(), os.fdopen(self.open(path), "rb", buffering=0) as file:
            return file.readall()

    def list(self, path: str) -> List[str]:
        """Returns the names in a directory of the box."""
        fd = self.open(path)
        try:
            return os.listdir(fd)
        finally:
            os.close(fd)

    def _read_contents(self) -> Contents:
        """Returns everything that pid 1 of the box sees; in the host tier, that is what the whole machine has.

        It is one request for all, because every run of a program makes it.
        """
        _, (fd,) = self._ask("report", "")
        tables: Dict[bytes, List[bytes]] = {}
        with os.fdopen(fd, "rb") as file:
            for line in file:
                kind, _, rest = line.partition(b" ")
                tables.setdefault(kind, []).append(rest)
        rows = [os.fsdecode(line).rstrip("\n").split(" ", 4) for line in tables.get(b"process", [])]
        ids = {kind: [number for number, uid in kernel.parse_ids(b"".join(tables.get(kind, [])))
                      if self.tier == "namespaces" or uid == self.uid] for kind in (b"semaphores", b"queue")}
        processes = [kernel.Process(int(pid), int(parent), state, float(cpu), name) for pid, parent, state, cpu, name in rows]
        return Contents(kernel.parse_segments(b"".join(tables.get(b"segment", []))), kernel.list_objects(self.shm_fd), processes,
                        ids[b"semaphores"], ids[b"queue"])

    def contents(self) -> Contents:
        """Returns what is in the box. In the host tier: what its programs have made since it was opened."""
        now = self._read_contents()
        if self.tier == "namespaces":
            return now
        before, names, alone = self._before, self.claimed(), self.has_own_user
        shmids, inodes = {s.shmid for s in before.segments}, {(o.name, o.inode) for o in before.objects}
        pids = self.claimed_pids() | self.orphans | {process.pid for process in now.processes} | set(self.programs)
        return Contents(
            [s for s in now.segments if s.shmid not in shmids and s.uid == self.uid and (alone or s.cpid in pids)],
            [o for o in now.objects if (o.name, o.inode) not in inodes and o.uid in (self.uid, os.getuid())
             and ((alone and o.uid == self.uid) or o.name in names)],
            now.processes,
            [i for i in now.semaphores if i not in before.semaphores],
            [i for i in now.queues if i not in before.queues])

    def segments(self) -> List[kernel.Segment]:
        return self.contents().segments

    def objects(self) -> List[kernel.Object]:
        return self.contents().objects if self.tier == "host" else kernel.list_objects(self.shm_fd)

    def processes(self) -> List[kernel.Process]:
        """Returns every process in the box except pid 1, zombies too."""
        return self._read_contents().processes

    # ---- starting programs

    def start(self, argv: Sequence[str], environment: Optional[Dict[str, str]] = None, stdin: Optional[int] = None,
              stdout: Union[str, int, None] = None, image: Optional[Path] = None, rules: Optional[str] = None,
              **options: object) -> BoxedProcess:
        """Starts a program in the box.

        @param environment  variables besides PATH, LANG, HOME and TMPDIR
        @param stdin    a descriptor to read from; None: an empty input; -1: a pipe that is written to through
                        `BoxedProcess.stdin`
        @param stdout   a file to write to, instead of the pipe that fills `BoxedProcess.output`
        @param image    an executable of the harness, run from its descriptor: it has no name in the box, so the programs
                        there can neither replace nor read nor run it
        @param rules    for its recorder, see native/spy/rules.c; None: it has none
        @param options  members of `struct limits` in native/box/box.h
        @throws OSError if it cannot be started
        """
        program = BoxedProcess(0, list(argv), trusted=image is not None)
        theirs: List[int] = []
        try:
            if stdin == -1:
                end, program.stdin = os.pipe()
                theirs.append(end)
            else:
                theirs.append(os.open("/dev/null", os.O_RDONLY) if stdin is None else os.dup(stdin))
            for number in (1, 2):
                if number == 1 and stdout is not None:
                    theirs.append(os.dup(stdout) if isinstance(stdout, int) else os.open(stdout, os.O_WRONLY | os.O_CLOEXEC))
                    continue
                ours, end = os.pipe()
                os.set_blocking(ours, False)
                program.pipes[ours] = number
                theirs.append(end)
            if image:
                theirs.append(os.open(image, os.O_RDONLY | os.O_CLOEXEC))
            variables = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C.UTF-8", "HOME": self.work,
                         "TMPDIR": self.work, **(environment or {})}
            fields = ["start"] + [f"o{key}={value}" for key, value in options.items()]
            fields += [] if rules is None else [f"r{rules}"]
            fields += [f"a{word}" for word in argv] + [f"e{key}={value}" for key, value in variables.items()]
            words, _ = self._ask(*fields, fds=theirs)
        except BaseException:
            self._forget(program)
            raise
        finally:
            for fd in theirs:
                os.close(fd)
        program.pid = int(words[0])
        self.programs[program.pid] = program
        return program

    # ---- waiting

    def feed(self, program: BoxedProcess, content: bytes, timeout: float,
             hang: Callable[[List[kernel.Process]], str] = lambda processes: "") -> bool:
        """Writes to a program's input. Returns False if it has not read all of it within `timeout` seconds.

        If the program has ended, True: its exit status says more. But a child of it may still run and hold the input
        open without reading; that is False.
        """
        rest = memoryview(content)
        os.set_blocking(program.stdin, False)

        def taken() -> bool:
            nonlocal rest
            try:
                while rest:
                    rest = rest[os.write(program.stdin, rest):]
            except BlockingIOError:
                return False
            except BrokenPipeError:
                pass
            return True

        return self.expect(taken, timeout, to_write=[program.stdin], hang=hang)

    def expect(self, until: Callable[[], bool], timeout: float, tick: float = 60.0, to_write: Sequence[int] = (),
               hang: Callable[[List[kernel.Process]], str] = lambda processes: "") -> bool:
        """Waits until a condition holds. Returns False if it does not within `timeout` seconds, see pump().

        A program must not fail because other processes keep the processors busy (a fork bomb in another box, for
        example). So while a process could go on and has used less than TURN_SECONDS, the wait is extended; but not if
        the box's own processes used the processors for half of the time. If all processes sleep and none is left that
        could wake another, the wait ends at once and `stuck` is True. It also ends if `hang`, which is called with the
        processes from time to time, returns why the condition will not come.
        """
        self.stuck, self.hang, asleep, used = False, "", None, None
        end, pause = time.monotonic() + timeout, FIRST_LOOK_SECONDS
        while not self.pump(until, min(end - time.monotonic(), pause), tick, to_write):
            if timeout <= 0:
                return False
            pause = min(2 * pause, LOOK_SECONDS)
            processes = self.processes()  # pid 1 sends its pending events before the answer
            self.hang = hang(processes)
            if self.hang:
                return until()
            before, asleep = asleep, self._asleep(processes)
            if asleep and asleep == before:
                self.stuck = not until()
                return not self.stuck
            if time.monotonic() < end:
                continue
            total = sum(process.cpu for process in processes)
            if not any(process.cpu < TURN_SECONDS and self._goes_on(process) for process in processes) or (
                    used is not None and total - used > timeout / 2) or not self.may_extend(timeout):
                return until()
            used = total
            end = time.monotonic() + timeout
        return True

    def _goes_on(self, process: kernel.Process) -> bool:
        """Whether a process waits for a processor, or for a disk: other processes keep both busy."""
        if process.state != "D":
            return process.state == "R"
        try:
            call = kernel.parse_blocked(self.read(f"/proc/{process.pid}/syscall"))
        except OSError:
            return False
        return not (call and call.suspended_by_vfork)

    def _asleep(self, processes: List[kernel.Process]) -> Optional[Dict[int, Tuple[int, int]]]:
        """Returns each thread's system call and number of sleeps, if every thread sleeps until another wakes it; else None.

        If two such answers are equal, no thread ran in between: no process and no timer is left that could wake one.
        """
        found: Dict[int, Tuple[int, int]] = {}
        if len(processes) > MAX_SLEEPERS:
            return None
        try:
            for process in processes:
                directory = f"/proc/{process.pid}/task"
                for thread in self.list(directory):
                    state = kernel.parse_status(self.read(f"{directory}/{thread}/status"))
                    if not state:
                        return None
                    number = -1
                    if state.phase not in ("ended", "stopped"):
                        call = kernel.parse_blocked(self.read(f"{directory}/{thread}/syscall"))
                        # A signal does not end the wait for a vfork child, which the kernel counts as one for a disk.
                        suspended = state.state == "D" and call is not None and call.suspended_by_vfork
                        if not suspended and (state.phase != "waits" or state.caught & kernel.TIMER_SIGNALS or not call
                                              or not call.has_no_end):
                            return None
                        assert call is not None
                        number = call.number
                    found[int(thread)] = number, state.sleeps
        except OSError:
            return None
        return found

    def wait(self, program: BoxedProcess, timeout: float) -> bool:
        """Waits until a program has ended, and reads the rest of its output. Returns False if it still runs."""
        ended = self.expect(lambda: program.status is not None, timeout)
        self._read_rest(program)
        return ended

    def set_sysctl(self, name: str, value: int) -> None:
        """Sets a limit of the box's own IPC, such as "kernel/shmmni"; see proc(5). Only in the namespaces tier."""
        self._resettable = False
        self._ask("sysctl", name, value)

    def put(self, name: str, content: bytes, mode: int = 0o644) -> str:
        """Writes a file in the work directory. Returns its path as the programs see it.

        Raises OSError if a program has put something else in its place, such as a link or a named pipe.
        """
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600,
                     dir_fd=self.work_fd)
        with os.fdopen(fd, "wb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise FileExistsError(errno.EEXIST, "it is not a regular file any more", name)
            file.write(content)
            os.fchmod(file.fileno(), mode)
        return f"{self.work}/{name}"

    def get(self, name: str, limit: int) -> bytes:
        """Returns at most `limit` bytes of a file in the work directory. Links are not followed."""
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self.work_fd)
        with os.fdopen(fd, "rb") as file:
            return file.read(limit)

    def remove_segment(self, shmid: int) -> None:
        """Removes a System V segment of the box."""
        self._ask("remove", "segment", shmid)

    def exists(self, name: str) -> bool:
        """Whether there is a file of that name in the work directory."""
        try:
            os.stat(name, dir_fd=self.work_fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def stop(self) -> None:
        """Ends every program and every process that they started, and reads the rest of their output.

        All have ended when it returns. Their ends are not reported: the status of a program that still ran stays None.
        """
        self._ask("sweep", "")
        for program in self.programs.values():
            self._read_rest(program)

    def clean(self) -> None:
        """Ends every program, and removes every segment, object, semaphore set and message queue of the box."""
        found = self.contents()
        self.stop()
        for program in list(self.programs.values()):
            self._forget(program)
        for what, ids in (("segment", [s.shmid for s in found.segments]), ("semaphores", found.semaphores),
                          ("queue", found.queues)):
            for number in ids:
                try:
                    self._ask("remove", what, number)
                except OSError:
                    pass
        for item in found.objects:
            try:
                os.unlink(item.name[1:], dir_fd=self.shm_fd)
            except OSError:
                pass
        self.events.clear()
        self.orphans.clear()

    def _own_sockets(self) -> List[Tuple[int, int]]:
        """Device and inode of each socket on which pid 1 listens."""
        found = [os.stat(name, dir_fd=self.run_fd, follow_symlinks=False) for name in SOCKETS]
        return [(status.st_dev, status.st_ino) for status in found]

    def reset(self) -> bool:
        """Empties the box, which takes a fraction of the time of a new one. Returns False if a new one is needed."""
        if self.tier == "host" or not self._resettable:
            return False
        try:
            self.clean()
            for directory in self.work_fd, self.run_fd:
                for name in os.listdir(directory):
                    if directory == self.work_fd or name not in SOCKETS:
                        os.unlink(name, dir_fd=directory)
                os.utime(directory, (0, 0))  # a program could leave word there for the next check
            # Recorders talk to pid 1 through these sockets: they must not be some that a program has put there.
            if self._own_sockets() != self._sockets:
                return False
            return self.list("/tmp") == [os.path.basename(self.work)] and self.contents() == Contents()
        except (BoxRefused, OSError):  # a directory in the work directory cannot be unlinked, for example
            return False
