"""Parses what the kernel reports about shared memory and processes; no other module knows these formats, except for those of
observe/, which have to work alone.

Sources: proc(5), proc_sysvipc(5), shm_overview(7). Everything is parsed from bytes, because names may contain any byte.
"""
from __future__ import annotations

import os
import re
import signal
import stat
from dataclasses import dataclass
from typing import Dict, List, Optional, Tuple


def show(raw: bytes, limit: int = 60) -> str:
    """Returns bytes as a quoted string on one line, with escapes for what is not printable, cut after `limit` bytes."""
    text = repr(raw[:limit])[2:-1].replace('\\\'', "'")
    return f'"{text}"' + ("…" if len(raw) > limit else "")


# ---- wait statuses ----------------------------------------------------------------------------------------


def exit_status_of(status: int) -> Optional[int]:
    """The exit status in a wait status, see wait(2); None if a signal ended the process."""
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else None


def signal_of(status: int) -> Optional[str]:
    """The name of the signal in a wait status, such as "SIGSEGV"; None if the process exited."""
    if not os.WIFSIGNALED(status):
        return None
    number = os.WTERMSIG(status)
    return signal.Signals(number).name if number in list(signal.Signals) else f"signal {number}"


# ---- /proc/PID/maps ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mapping:
    """One line of /proc/PID/maps, see proc_pid_maps(5). `start` and `end` are addresses, `flags` are like "rw-s"."""

    start: int
    end: int
    flags: str
    offset: int
    device: str
    inode: int
    name: str
    line: str

    @property
    def size(self) -> int:
        """Its size in bytes, a multiple of the page size."""
        return self.end - self.start

    @property
    def shared(self) -> bool:
        return self.flags[3] == "s"

    @property
    def anonymous(self) -> bool:
        """Whether it is a shared anonymous mapping, which the kernel implements as an unlinked file of this name."""
        return self.shared and self.name == "/dev/zero (deleted)"

    @property
    def key(self) -> Optional[int]:
        """The key of the System V segment that is attached here; None if it is not a segment."""
        match = re.fullmatch(r"/SYSV([0-9a-f]{8}) \(deleted\)", self.name)
        return int(match.group(1), 16) if match else None

    @property
    def object(self) -> Optional[str]:
        """The name ("/name") of the POSIX object that is mapped here, unlinked or not; None if it is not an object."""
        if not self.name.startswith("/dev/shm/"):
            return None
        name = self.name[len("/dev/shm"):]
        return name[: -len(" (deleted)")] if name.endswith(" (deleted)") else name

    @property
    def memfd(self) -> Optional[str]:
        """The name of the memfd that is mapped here; None if it is not a memfd."""
        match = re.fullmatch(r"/memfd:(.*) \(deleted\)", self.name, re.S)
        return match.group(1) if match else None


_MAPS_LINE = re.compile(rb"([0-9a-f]+)-([0-9a-f]+) ([r-][w-][x-][ps]) ([0-9a-f]+) (\S+) (\d+)(?: +(.*))?")


def parse_maps(raw: bytes) -> List[Mapping]:
    """Parses /proc/PID/maps. The kernel writes a newline in a name as \\012, and other bytes unchanged."""
    found = []
    for line in raw.split(b"\n"):
        match = _MAPS_LINE.fullmatch(line)
        if not match:
            continue
        start, end, flags, offset, device, inode, name = match.groups()
        text = os.fsdecode(name or b"").replace("\\012", "\n")
        found.append(Mapping(int(start, 16), int(end, 16), flags.decode(), int(offset, 16), device.decode(),
                             int(inode), text, re.sub(r" {2,}", "  ", line.decode("utf-8", "replace"))))
    return found


# ---- /proc/sysvipc ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Segment:
    """One line of /proc/sysvipc/shm, see shmctl(2) for the members of `struct shmid_ds`.

    `key` is unsigned, `mode` has only the permission bits, and `size` is in bytes. `atime` is the time of the last attach
    (0: never), `ctime` of the creation or the last change by IPC_SET; both in seconds since the Epoch.
    """

    key: int
    shmid: int
    mode: int
    size: int
    cpid: int
    lpid: int
    nattch: int
    uid: int
    atime: int
    ctime: int
    removed: bool

    @property
    def line(self) -> str:
        dest = " dest" if self.removed else ""
        return (f"/proc/sysvipc/shm: key 0x{self.key:08x}  shmid {self.shmid}  mode {self.mode:04o}  "
                f"size {self.size}  nattch {self.nattch}{dest}")


SHM_DEST = 0o1000


def parse_segments(raw: bytes) -> List[Segment]:
    """Parses /proc/sysvipc/shm. The columns are found by the names in its first line."""
    lines = raw.decode("ascii", "replace").splitlines()
    if not lines:
        return []
    columns = lines[0].split()
    found = []
    for line in lines[1:]:
        values = line.split()
        if len(values) < len(columns):
            continue
        row = dict(zip(columns, values))
        mode = int(row["perms"], 8)
        found.append(Segment(int(row["key"]) & 0xFFFFFFFF, int(row["shmid"]), mode & 0o777, int(row["size"]),
                             int(row["cpid"]), int(row["lpid"]), int(row["nattch"]), int(row["uid"]),
                             int(row["atime"]), int(row["ctime"]), bool(mode & SHM_DEST)))
    return found


def parse_ids(raw: bytes) -> List[Tuple[int, int]]:
    """Returns the id and the owner's uid of each line of /proc/sysvipc/sem or /proc/sysvipc/msg."""
    lines = raw.decode("ascii", "replace").splitlines()
    if not lines:
        return []
    columns = lines[0].split()
    rows = (line.split() for line in lines[1:])
    return [(int(row[1]), int(row[columns.index("uid")])) for row in rows if len(row) == len(columns)]


def ftok(status: os.stat_result, project: int) -> int:
    """Returns the key, unsigned, that glibc and musl compute from a file and a project id. See ftok(3)."""
    return (status.st_ino & 0xFFFF) | (status.st_dev & 0xFF) << 16 | (project & 0xFF) << 24


# ---- /dev/shm ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Object:
    """One name in /dev/shm. `size` is its st_size, `reserved` is the memory allocated for it, both in bytes.

    `kind` is empty for an object. If the file of that name is something else, `kind` says what: "a symbolic link", for
    example.
    """

    name: str
    mode: int
    size: int
    reserved: int
    uid: int
    inode: int
    kind: str

    @property
    def line(self) -> str:
        return (f"/dev/shm{show(os.fsencode(self.name), 200)[1:-1]}: {self.kind and self.kind + ', '}mode {self.mode:04o}  "
                f"size {self.size}  reserved {self.reserved}")


_KINDS = {stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a directory", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}


def list_objects(directory: int) -> List[Object]:
    """Returns the objects in /dev/shm. `directory` is its descriptor. An object that is unlinked meanwhile is skipped."""
    found = []
    for entry in sorted(os.listdir(directory)):
        try:
            status = os.stat(entry, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            continue
        kind = "" if stat.S_ISREG(status.st_mode) else _KINDS.get(stat.S_IFMT(status.st_mode), "a device")
        found.append(Object("/" + entry, stat.S_IMODE(status.st_mode), status.st_size, status.st_blocks * 512,
                            status.st_uid, status.st_ino, kind))
    return found


# ---- processes --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Process:
    """One process, from /proc/PID/stat: `state` is 'R', 'S', 'T', 'Z' …, see proc_pid_stat(5).

    `cpu` is the processor time in seconds, including that of children that it has waited for.
    """

    pid: int
    parent: int
    state: str
    cpu: float
    command: str

    @property
    def line(self) -> str:
        what = "zombie, not waited for" if self.state == "Z" else "running"
        return f"process {self.pid} ({self.command}): {what}, parent {self.parent}"


@dataclass(frozen=True)
class ProcessState:
    """The scheduling state of a process or thread, from its status file.

    `state` is the letter, `sleeps` the number of voluntary context switches, `caught` the mask of caught signals.
    """

    state: str
    sleeps: int
    caught: int = 0

    @property
    def phase(self) -> str:
        """The state in one word: "ended", "stopped", "waits" or "runs"."""
        if self.state in "ZX":
            return "ended"
        return "stopped" if self.state in "Tt" else "waits" if self.state == "S" else "runs"


def parse_resident(raw: bytes) -> int:
    """Parses /proc/PID/statm, see proc_pid_statm(5). Returns the resident memory in bytes; 0 for a process without memory."""
    words = raw.split()
    return int(words[1]) * os.sysconf("SC_PAGE_SIZE") if len(words) > 1 else 0


def parse_status(raw: bytes) -> Optional[ProcessState]:
    """Parses /proc/PID/status or /proc/PID/task/TID/status, see proc_pid_status(5). Returns None if a line is missing."""
    match = re.search(rb"^State:\t(\S).*^SigCgt:\t([0-9a-f]+)$.*^voluntary_ctxt_switches:\t(\d+)$", raw, re.M | re.S)
    return ProcessState(match.group(1).decode(), int(match.group(3)), int(match.group(2), 16)) if match else None


# Numbers of the system calls that a program of the labs may wait in, by machine.
_GENERIC_CALLS = {
    22: "epoll_pwait", 25: "fcntl", 32: "flock", 63: "read", 64: "write", 65: "readv", 66: "writev", 72: "pselect6",
    73: "ppoll", 95: "waitid", 98: "futex", 101: "nanosleep", 115: "clock_nanosleep", 124: "sched_yield",
    133: "rt_sigsuspend", 137: "rt_sigtimedwait", 192: "semtimedop", 193: "semop", 202: "accept", 203: "connect",
    206: "sendto", 207: "recvfrom", 211: "sendmsg", 212: "recvmsg", 227: "msync", 242: "accept4", 260: "wait4"}
CALL_NAMES: Dict[str, Dict[int, str]] = {
    "x86_64": {
        0: "read", 1: "write", 7: "poll", 19: "readv", 20: "writev", 23: "select", 24: "sched_yield", 26: "msync",
        34: "pause", 35: "nanosleep", 42: "connect", 43: "accept", 44: "sendto", 45: "recvfrom", 46: "sendmsg",
        47: "recvmsg", 61: "wait4", 65: "semop", 72: "fcntl", 73: "flock", 128: "rt_sigtimedwait", 130: "rt_sigsuspend",
        202: "futex", 220: "semtimedop", 230: "clock_nanosleep", 232: "epoll_wait", 247: "waitid", 270: "pselect6",
        271: "ppoll", 281: "epoll_pwait", 288: "accept4"},
    "aarch64": _GENERIC_CALLS, "riscv64": _GENERIC_CALLS,
    "i686": {
        3: "read", 4: "write", 29: "pause", 114: "wait4", 142: "select", 143: "flock", 145: "readv", 146: "writev",
        162: "nanosleep", 168: "poll", 221: "fcntl", 240: "futex", 267: "clock_nanosleep", 284: "waitid", 308: "pselect6",
        309: "ppoll"}}
_NAMES = CALL_NAMES.get(os.uname().machine, {})
FUTEX_CALLS = {machine: number for machine, calls in CALL_NAMES.items() for number, name in calls.items() if name == "futex"}
FUTEX_PRIVATE = 0x80
FUTEX_WAITS = (0, 6, 9, 13)  # FUTEX_WAIT, _LOCK_PI, _WAIT_BITSET, _LOCK_PI2: the fourth argument is a timeout
# The argument of each that says how many descriptors it waits for; without one it is a pause that only time ends.
DESCRIPTORS_IN = {"poll": 1, "ppoll": 1, "select": 0, "pselect6": 0}
VFORK_CALLS = {"x86_64": (58, 56), "aarch64": (-2, 220), "riscv64": (-2, 220), "i686": (190, 120)}  # vfork(2), clone(2)
CLONE_VFORK = 0x4000
RECORDERS = 0x800  # MSG_CONFIRM, which means nothing for a Unix socket: the mark of what the spy sends, see announce() in spy/rules.c
LOCK_WAITS = (7, 38)  # F_SETLKW, F_OFD_SETLKW
# A timer can send these: SIGALRM, SIGVTALRM, SIGPROF, SIGUSR1, SIGUSR2, SIGIO and the real-time signals.
TIMER_SIGNALS = sum(1 << number - 1 for number in (14, 26, 27, 10, 12, 29, *range(34, 65)))


@dataclass(frozen=True)
class Blocked:
    """The system call in which a process waits, and its arguments. `number` is -1 if it waits outside a system call.

    Source: /proc/PID/syscall, see proc_pid_syscall(5).
    """

    number: int
    arguments: Tuple[int, ...]

    @property
    def name(self) -> str:
        """The name of the system call; "system call 123" where this module does not know it."""
        return _NAMES.get(self.number, f"system call {self.number}")

    @property
    def in_futex(self) -> bool:
        return self.name == "futex"

    @property
    def reads_input(self) -> bool:
        """In read(2) of standard input."""
        return self.name in ("read", "readv") and self.arguments[0] == 0

    @property
    def waits_for_descriptors(self) -> bool:
        """In poll(2), select(2) or epoll_wait(2), for input say."""
        return self.name.startswith("epoll") or self.name in DESCRIPTORS_IN and self.arguments[DESCRIPTORS_IN[self.name]] != 0

    @property
    def waits_for_child(self) -> bool:
        return self.name in ("wait4", "waitid")

    @property
    def pauses(self) -> bool:
        """A wait that time alone ends, whatever others do: nanosleep(2), or poll(2) and the like without a descriptor."""
        return self.name in ("nanosleep", "clock_nanosleep") or self.name in DESCRIPTORS_IN and not self.waits_for_descriptors

    @property
    def has_no_end(self) -> bool:
        """Whether it is a wait without a timeout: for a semaphore, mutex, condition variable, lock, child, signal or input."""
        if self.in_futex:
            return self.arguments[1] & 0x7F in FUTEX_WAITS and self.arguments[3] == 0
        if self.name == "fcntl":
            return self.arguments[1] in LOCK_WAITS
        return self.waits_for_child or self.reads_input or self.name in ("pause", "flock")

    @property
    def private_futex(self) -> bool:
        """Whether it is a futex wait that only threads of the same process can end (FUTEX_PRIVATE_FLAG)."""
        return self.in_futex and bool(self.arguments[1] & FUTEX_PRIVATE)

    @property
    def suspended_by_vfork(self) -> bool:
        """In vfork(2), or in clone(2) with CLONE_VFORK: until the child has ended or has executed a program."""
        vfork, clone = VFORK_CALLS.get(os.uname().machine, (-2, -2))
        return self.number == vfork or (self.number == clone and bool(self.arguments[0] & CLONE_VFORK))


def parse_blocked(raw: bytes) -> Optional[Blocked]:
    """Parses /proc/PID/syscall. Returns None while the process runs, and while its recorder waits until the box reads a message."""
    words = raw.split()
    if not words or words[0] == b"running":
        return None
    numbers = [int(word, 0) for word in words]
    blocked = Blocked(numbers[0], tuple(numbers[1:7]) if numbers[0] >= 0 else ())
    return None if blocked.name == "sendto" and blocked.arguments[3] & RECORDERS else blocked
