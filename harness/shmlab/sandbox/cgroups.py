"""A control group for each box, where one is delegated: then the kernel itself limits what all programs of a box hold together.

The harness may make groups where systemd has delegated one to it (`systemd-run --user --scope -p Delegate=yes`), as root, and
in a container whose group it may write to. A group with limits for its children may hold no process itself, so the harness
moves itself, and whatever else is there, into a group LEAF beside those of the boxes; only root's topmost group is exempt.

Sources: cgroups(7), "cgroups version 2"; the kernel's Documentation/admin-guide/cgroup-v2.rst; systemd.resource-control(5).
"""
from __future__ import annotations

import errno
import os
import re
import select
import time
from functools import lru_cache
from pathlib import Path
from typing import Optional, Tuple

LEAF, ROOTS = "shmlab-harness", "shmlab"  # of the harness itself; of the boxes, in the topmost group
MOST_PROCESSES = 512  # and threads, of all programs of a box
REMOVE_SECONDS = 5.0
_MOUNTS, _OWN = Path("/proc/self/mountinfo"), Path("/proc/self/cgroup")


def _own_group() -> Tuple[Path, Path]:
    """Returns where the second version is mounted, and the directory of this process's group. Raises OSError if there is none."""
    mounts = [line.split() for line in _MOUNTS.read_text().splitlines() if " - cgroup2 " in line]
    own = re.search(r"^0::(/.*)$", _OWN.read_text(), re.M)
    if not mounts or not own:
        raise OSError(errno.ENOENT, "cgroup v2 is not mounted")
    root, mounted = mounts[0][3], Path(mounts[0][4])
    inside = os.path.relpath(own[1], root)
    if inside.startswith(".."):
        raise OSError(errno.ENOENT, "the group of this process is not below the mounted one")
    return mounted, mounted / inside


def _is_delegated(group: Path) -> bool:
    """Whether systemd has marked a group as one whose inside is its user's affair."""
    for name in "user.delegate", "trusted.delegate":
        try:
            if os.getxattr(group, name) == b"1":
                return True
        except OSError:
            pass
    return False


def _write(path: Path, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _enable(group: Path) -> None:
    """Lets the groups inside have limits. Raises OSError without that of memory."""
    for controller in "memory", "pids", "cpu":
        try:
            _write(group / "cgroup.subtree_control", f"+{controller}")
        except OSError as error:
            if controller == "memory":
                raise OSError(error.errno, f"its groups cannot limit memory: {error.strerror}") from None


def _step_aside(group: Path) -> None:
    """Moves every process of a group, this one among them, into a group inside it."""
    leaf = group / LEAF
    leaf.mkdir(exist_ok=True)
    for _ in range(100):  # a process may fork meanwhile
        pids = (group / "cgroup.procs").read_text().split()
        for pid in pids:
            try:
                _write(leaf / "cgroup.procs", pid)
            except ProcessLookupError:
                pass
        if not pids:
            return


def _prepare() -> Path:
    """Returns the group in which boxes get theirs. Raises OSError, with the reason in words, if there is none."""
    mounted, own = _own_group()
    if own.name == LEAF:
        own = own.parent
    is_topmost = os.geteuid() == 0 and not (mounted / "cgroup.type").exists()  # no other group of the machine lacks a type
    group = mounted if is_topmost else own
    if "memory" not in (group / "cgroup.controllers").read_text().split():
        raise OSError(errno.ENOTSUP, "it cannot limit memory: the kernel was started without it, or cgroup v1 uses it")
    if is_topmost:
        _enable(group)
        group = group / ROOTS
        group.mkdir(exist_ok=True)
    elif own == mounted or _is_delegated(own):
        if not os.access(group / "cgroup.procs", os.W_OK):
            raise PermissionError(errno.EACCES, "this user may not write to it")
        _step_aside(group)
    else:
        raise PermissionError(errno.EACCES, "it is not delegated: `systemd-run --user --scope -p Delegate=yes make …` does that")
    _enable(group)
    _remove_old(group)
    return group


def _remove_old(group: Path) -> None:
    """Removes the groups of harnesses that were killed."""
    for old in group.glob("box-*-*"):
        if not os.path.exists(f"/proc/{old.name.split('-')[1]}"):
            _remove(old, 0.0)


def _remove(group: Path, seconds: float) -> None:
    try:
        _write(group / "cgroup.kill", "1")  # Linux 5.14
    except OSError:
        pass
    end = time.monotonic() + seconds
    while True:
        try:
            return group.rmdir()
        except FileNotFoundError:
            return
        except OSError:  # some process of it is about to end
            if time.monotonic() > end:
                return
            select.select([], [], [], 0.001)


@lru_cache(maxsize=None)
def _find(pid: int) -> Tuple[Optional[Path], str]:
    try:
        return _prepare(), ""
    except OSError as error:
        return None, str(error.strerror or error)


def parent() -> Optional[Path]:
    """Returns the group in which boxes get theirs; None if there is none, see why_none()."""
    return _find(os.getpid())[0]


def why_none() -> str:
    """Returns why boxes have no groups here; empty if they have."""
    return _find(os.getpid())[1]


class Group:
    """The control group of one box. `descriptors` are for the box: where its programs enter, and the kernel's count of what it killed."""

    number = 0

    def __init__(self, above: Path, memory_mb: int) -> None:
        Group.number += 1
        self.path = above / f"box-{os.getpid()}-{Group.number}"
        self.path.mkdir()
        try:
            _write(self.path / "memory.max", str(memory_mb << 20))
            for name, text in ("memory.swap.max", "0"), ("pids.max", str(MOST_PROCESSES)), ("cpu.max", self._processor_time()):
                if text and (self.path / name).exists():
                    _write(self.path / name, text)
            self.descriptors = [os.open(self.path / name, how | os.O_CLOEXEC)
                                for name, how in (("cgroup.procs", os.O_WRONLY), ("memory.events", os.O_RDONLY))]
        except BaseException:
            _remove(self.path, 0.0)
            raise

    @staticmethod
    def _processor_time() -> str:
        """What $SHMLAB_CPUS asks for, such as "1.5", as cpu.max has it: microseconds of each 100,000; empty if it asks for nothing."""
        asked = os.environ.get("SHMLAB_CPUS", "")
        return f"{max(1000, int(float(asked) * 100_000))} 100000" if re.fullmatch(r"\d{1,4}(\.\d{1,3})?", asked) else ""

    def forget_descriptors(self) -> None:
        """Closes this process's copies, once the box has its own."""
        for fd in self.descriptors:
            os.close(fd)
        self.descriptors = []

    def close(self) -> None:
        """Kills whatever is left in the group, and removes it."""
        self.forget_descriptors()
        _remove(self.path, REMOVE_SECONDS)
