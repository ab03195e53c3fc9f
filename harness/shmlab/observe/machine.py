"""One look at the machine: all objects, in the order of the list, and what could not be seen."""
from __future__ import annotations

import os

from . import names, orphans
from .objects import KINDS, STATES, Object
from .processes import Scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional, Tuple

_FIRST_PID_NAMESPACE = "4026531836"  # PROC_PID_INIT_INO of the kernel


class Machine:
    """What was found. `objects` has orphans first, then what was removed and is still held, then by kind and size.

    `refused` has the IPC namespaces that could not be entered, with the reason. `shmem` is from names.shmem().
    """

    def __init__(self, with_memory: bool = False, everything: bool = False) -> None:
        scan = Scan()
        scan.all_processes()
        self.refused: List[Tuple[str, str]] = names.segments(scan)
        complete, paths = names.named_objects(scan)
        scan.details()
        orphans.decide(scan, complete, paths)
        self.objects: List[Object] = sorted(scan.objects.values(), key=_order)
        if with_memory:
            scan.memory(item for item in self.objects if everything or item.common)
            for item in self.objects:
                if item.resident is None:
                    item.resident = item.pss
        self.denied: Dict[int, int] = scan.denied
        self.processes, self.mappings = scan.read, scan.mappings
        self.shmem: Optional[Tuple[int, int, int]] = names.shmem(scan)
        self.own_ipc = scan.own_ipc
        self.inner = _namespace_of_pids() != _FIRST_PID_NAMESPACE

    @property
    def hidden(self) -> bool:
        """Whether /proc does not even list other users' processes, as with its mount option hidepid."""
        return os.geteuid() != 0 and not os.path.exists("/proc/1")

    def reports(self) -> List[str]:
        """Returns what could not be seen, in words."""
        found = []
        if self.denied:
            users = len(set(self.denied.values()))
            whose = "" if os.geteuid() == 0 else f" of {users} other user{'s' if users > 1 else ''}"
            found.append(f"{len(self.denied)} process{'es' if len(self.denied) > 1 else ''}{whose}, which may not be read")
        if self.hidden:
            found.append("processes of other users, which this /proc hides")
        if self.inner:
            found.append("processes outside of this pid namespace, which may be a container")
        for namespace, reason in self.refused:
            found.append(f"segments of IPC namespace {namespace}: {reason}")
        return found


def _order(item: Object) -> "Tuple[int, int, int, str, Tuple[str, str, int]]":
    return STATES.index(item.state), KINDS.index(item.kind), -(item.size or 0), item.name, item.identity


def _namespace_of_pids() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")[5:-1]
    except OSError:
        return _FIRST_PID_NAMESPACE
