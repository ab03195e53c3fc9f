"""Starts programs in the box (native/box/) and hears what became of them.

Two tiers. `namespaces`: the programs have processes, segments, objects, disk and network of their own; all of it
is gone when the box is closed. `host`: where the machine refuses namespaces. Then the programs run on the
machine's own IPC, one box at a time, and what they leave is told apart by owner and creator and removed.
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
from typing import Callable, Dict, FrozenSet, Iterator, List, Optional, Sequence, Set, Tuple

from ..labs import ROOT
from . import kernel, native
from .channel import BoxRefused, Channel, BoxedProcess

LOOK_SECONDS = 0.25  # between two looks whether anything can still happen
MOST_ASLEEP = 80  # processes, that this is asked for
TURN_SECONDS = 1.0  # of the processor: who has had them has had its turn; the labs' programs need some milliseconds


@dataclass
class Contents:
    """Segments, objects, processes (zombies too), and the ids of semaphore sets and message queues."""

    segments: List[kernel.Segment] = field(default_factory=list)
    objects: List[kernel.Object] = field(default_factory=list)
    processes: List[kernel.Process] = field(default_factory=list)
    semaphores: List[int] = field(default_factory=list)
    queues: List[int] = field(default_factory=list)


#: Those that this process, and so the programs, may use, whatever the harness itself keeps to.
PROCESSORS: FrozenSet[int] = frozenset(os.sched_getaffinity(0))

#: Further directories that the programs must not see: what others have handed in, and what became of it.
also_hidden: Set[str] = set()


def hidden_directories() -> List[str]:
    """What the programs must not see: the project, and every home and scratch directory of the machine."""
    directories = {*also_hidden, str(ROOT), str(native.build_directory().resolve()), str(Path.home()), "/root", "/home", "/var/tmp",
               "/mnt", "/media", "/srv"}
    real = {os.path.realpath(directory) for directory in directories if os.path.isdir(directory)}
    # What lies below another hidden directory, or below /tmp or /run, is out of sight with it.
    return sorted(directory for directory in real if directory != "/" and not any(
        directory.startswith(other + "/") for other in real | {"/tmp", "/run"} if other != directory))


def may_look_at_everybody() -> bool:
    """Whether this process has CAP_SYS_PTRACE, without which the kernel shows nobody the memory of another user's process."""
    found = re.search(r"^CapEff:\t([0-9a-f]+)$", Path("/proc/self/status").read_text(), re.M)
    return bool(found and int(found.group(1), 16) >> 19 & 1)


#: The users that programs run as where root checks them: one for each process that has a box.
USERS = range(60000, 64000)


class HostLock:
    """One harness at a time on the machine's own IPC. A harness may open a second box, to compile for example."""

    depth = 0
    fd = -1

    @classmethod
    def take(cls) -> None:
        if cls.depth == 0:
            path = os.path.join(tempfile.gettempdir(), f"shmlab-{os.getuid()}.lock")
            cls.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            fcntl.flock(cls.fd, fcntl.LOCK_EX)
        cls.depth += 1

    @classmethod
    def drop(cls) -> None:
        cls.depth -= 1
        if cls.depth == 0:
            os.close(cls.fd)


class Box(Channel):
    """A place to run programs in. Use as a context manager; nothing of it remains afterwards."""

    def __init__(self, tier: str, shm_mb: int = 64, memory_mb: int = 768) -> None:
        self.tier = tier
        super().__init__()
        self.stuck = False  # whether the last wait ended because nobody was left who could wake anybody
        self._resettable = True  # but for what empty() takes away
        self._scratch: Optional[str] = None
        self._locked = False
        command = [str(native.box_program()), "--tier", tier, "--shm-mb", str(shm_mb), "--memory-mb",
                   str(memory_mb), "--slot", str(os.getpid() % len(USERS)), "--processors", ",".join(map(str, PROCESSORS))]
        for directory in hidden_directories():
            command += ["--hide", directory]
        if tier == "host":
            command += self._prepare_host()
        with self._theirs as theirs:
            self._keeper = subprocess.Popen(command + ["--control", str(theirs.fileno())], stdin=subprocess.DEVNULL,
                                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                            pass_fds=[theirs.fileno()], cwd="/")
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
        self._looks_as_program = tier == "host" and self.has_own_user and not may_look_at_everybody()
        self.work_fd, self.run_fd, self.shm_fd, self._proc_fd = directories
        self._stops = os.stat("stops", dir_fd=self.run_fd, follow_symlinks=False)
        #: For the host tier: names of objects that the run has used, told by the spy. Set by program.py.
        self.claimed: Callable[[], Set[str]] = set
        self.claimed_pids: Callable[[], Set[int]] = set
        #: Whether so many more seconds are to be spent on waiting for programs that do not come to their turn.
        self.may_extend: Callable[[float], bool] = lambda seconds: True
        #: What was on the machine before. In a namespace of its own: nothing.
        self._before = Contents() if tier == "namespaces" else self._everything()

    @property
    def has_own_user(self) -> bool:
        """Whether the programs run as a user of their own, which takes a root that may be such a user: pid 1 has asked."""
        return self.uid != os.getuid()

    # ---- the host tier's own arrangements

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
        """Ends everything in the box and removes what it made."""
        if getattr(self, "shm_fd", -1) >= 0:
            if self.tier == "host":
                try:
                    self.clean()
                except (BoxRefused, OSError):
                    pass
            for program in list(self.programs.values()):
                self._forget(program)
            for fd in (self.work_fd, self.run_fd, self.shm_fd, self._proc_fd):
                os.close(fd)
            self.shm_fd = -1
        self._socket.close()
        # Popen.wait() with a time limit looks again and again, ever more rarely; a pidfd tells at once.
        ended = os.pidfd_open(self._keeper.pid)
        if not select.select([ended], [], [], 10)[0]:
            self._keeper.kill()
        os.close(ended)
        self._keeper.wait()
        if self._scratch:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None
        if self._locked:
            self._locked = False
            HostLock.drop()

    # ---- looking

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
        """A descriptor of a file or directory as the programs' world has it. Raises OSError like open(2)."""
        if re.match(r"/proc/\d", path):
            # What it tells of a process does not depend on who asks, as it does for /proc/sysvipc and /proc/sys.
            with self.as_program():
                return os.open(path[6:], (os.O_RDWR if mode == "w" else os.O_RDONLY) | os.O_CLOEXEC | os.O_NONBLOCK,
                               dir_fd=self._proc_fd)
        return self._ask("open", path, mode)[1][0]

    def read(self, path: str) -> bytes:
        """The content of a file of that world, of /proc above all."""
        with self.as_program(), os.fdopen(self.open(path), "rb", buffering=0) as file:
            return file.readall()

    def list(self, path: str) -> List[str]:
        """The names in a directory of that world."""
        fd = self.open(path)
        try:
            return os.listdir(fd)
        finally:
            os.close(fd)

    def _everything(self) -> Contents:
        """All that pid 1 sees, on the host that is the machine's. One question, as every run of a program asks it."""
        _, (fd,) = self._ask("report", "")
        tables: Dict[bytes, List[bytes]] = {}
        with os.fdopen(fd, "rb") as file:
            for line in file:
                kind, _, rest = line.partition(b" ")
                tables.setdefault(kind, []).append(rest)
        rows = [os.fsdecode(line).rstrip("\n").split(" ", 4) for line in tables.get(b"process", [])]
        ids = {kind: [number for number, uid in kernel.parse_ids(b"".join(tables.get(kind, [])))
                      if self.tier == "namespaces" or uid == self.uid] for kind in (b"semaphores", b"queue")}
        return Contents(kernel.parse_segments(b"".join(tables.get(b"segment", []))), kernel.list_objects(self.shm_fd),
                        [kernel.Process(int(pid), int(parent), state, float(cpu), name) for pid, parent, state, cpu, name in rows],
                        ids[b"semaphores"], ids[b"queue"])

    def contents(self) -> Contents:
        """What there is in the box; in the host tier, what came since it was opened and is its own."""
        now = self._everything()
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
        """Every process in the box but pid 1, zombies too."""
        return self._everything().processes

    # ---- acting

    def start(self, argv: Sequence[str], environment: Optional[Dict[str, str]] = None, stdin: Optional[int] = None,
              stdout: Optional[str] = None, image: Optional[Path] = None, **options: object) -> BoxedProcess:
        """Starts a program. Options are those of `struct limits` in native/box/box.h.

        Without `stdin` the program reads an empty input; `stdin=-1` makes a pipe whose end is `BoxedProcess.stdin`.
        `image` is an executable of ours that no program in the box shall put another in the place of, read or run.
        """
        program = BoxedProcess(0, list(argv))
        theirs: List[int] = []
        try:
            if stdin == -1:
                end, program.stdin = os.pipe()
                theirs.append(end)
            else:
                theirs.append(os.open("/dev/null", os.O_RDONLY) if stdin is None else os.dup(stdin))
            for number in (1, 2):
                if number == 1 and stdout:
                    theirs.append(os.open(stdout, os.O_WRONLY | os.O_CLOEXEC))
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

    def feed(self, program: BoxedProcess, content: bytes, timeout: float) -> bool:
        """Writes to a program's input. Gives False when it has not taken all of it in time.

        One that has ended takes nothing, and its exit status says why. But a child of it may live on, and hold
        the input open without reading.
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

        return self.expect(taken, timeout, to_write=[program.stdin])

    def expect(self, until: Callable[[], bool], timeout: float, tick: float = 60.0, to_write: Sequence[int] = ()) -> bool:
        """Waits for what the programs should do within so many seconds, in which they come to their turn.

        Others may have all the processors meanwhile, a hundred processes of somebody's fork bomb for example. A program
        that is ready to run and has hardly run gets more time, unless it is its own kind that has them. What it has done
        in the last moment counts. Where all sleep and nobody is left to wake them, the wait is over at once.
        """
        self.stuck, asleep, used = False, None, None
        end = time.monotonic() + timeout
        while not self.pump(until, min(end - time.monotonic(), LOOK_SECONDS), tick, to_write):
            if timeout <= 0:
                return False
            processes = self.processes()  # before it answers, pid 1 tells what has happened
            before, asleep = asleep, self._asleep(processes)
            if asleep and asleep == before:
                self.stuck = not until()
                return not self.stuck
            if time.monotonic() < end:
                continue
            total = sum(process.cpu for process in processes)
            if not any(process.state == "R" and process.cpu < TURN_SECONDS for process in processes) or (
                    used is not None and total - used > timeout / 2) or not self.may_extend(timeout):
                return until()
            used = total
            end = time.monotonic() + timeout
        return True

    def _asleep(self, processes: List[kernel.Process]) -> Optional[Dict[int, Tuple[int, int]]]:
        """What each thread sleeps in and how often it has gone to sleep, if all in the box do until another wakes them.

        If that is so twice, and the same, nobody was awake in between, and nobody is left to wake anybody: no process,
        and no timer either.
        """
        found: Dict[int, Tuple[int, int]] = {}
        if len(processes) > MOST_ASLEEP:
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
                        if state.phase != "waits" or state.caught & kernel.TIMER_SIGNALS or not call or not call.has_no_end:
                            return None
                        number = call.number
                    found[int(thread)] = number, state.sleeps
        except OSError:
            return None
        return found

    def wait(self, program: BoxedProcess, timeout: float) -> bool:
        """Waits until a program has ended, and takes in the rest of what it wrote. False: it still runs."""
        if not self.expect(lambda: program.status is not None, timeout):
            return False
        # Somebody else may hold the pipe open: take what is there and do not wait for its end.
        for fd in list(program.pipes):
            self._drain(fd, program)
        return True

    def set_sysctl(self, name: str, value: int) -> None:
        """Sets a limit of the box's own IPC, such as "kernel/shmmni". Only in the namespaces tier."""
        self._resettable = False
        self._ask("sysctl", name, value)

    def put(self, name: str, content: bytes, mode: int = 0o644) -> str:
        """Makes a file in the work directory. Gives its path as the programs see it.

        A program may have put a link there, or a named pipe, which has no end: then it is an OSError.
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
        """The content of a regular file in the work directory, not through a link, at most `limit` bytes."""
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self.work_fd)
        with os.fdopen(fd, "rb") as file:
            return file.read(limit)

    def stop(self) -> None:
        """Ends every program, and all that they have started."""
        self._ask("sweep", "")

    def clean(self) -> None:
        """Ends every program, and removes every segment, object, semaphore set and queue of the box."""
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

    def reset(self) -> bool:
        """Makes the box as good as new, which costs a fraction of a new one. False: it takes a new one."""
        if self.tier == "host" or not self._resettable:
            return False
        try:
            self.clean()
            for directory in self.work_fd, self.run_fd:
                for name in os.listdir(directory):
                    if directory == self.work_fd or name != "stops":
                        os.unlink(name, dir_fd=directory)
            # Who announces a hold finds pid 1's own socket there, and not one of an earlier program's.
            if not os.path.samestat(os.stat("stops", dir_fd=self.run_fd, follow_symlinks=False), self._stops):
                return False
            return self.list("/tmp") == [os.path.basename(self.work)] and self.contents() == Contents()
        except (BoxRefused, OSError):  # a directory, for example
            return False
