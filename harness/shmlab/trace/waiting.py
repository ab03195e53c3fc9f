"""Says for whom or for what a process waits, as far as the kernel tells."""
from __future__ import annotations

import re
from typing import Callable, Dict, Optional, Sequence

from ..explore.fields import Leaf
from ..sandbox.kernel import Blocked
from .state import State, fields_of

_FOR = {"accept": "for a connection", "accept4": "for a connection", "recvmsg": "for a message",
        "recvfrom": "for a message", "read": "for input", "flock": "for a file lock that another process holds",
        "fcntl": "for a file lock that another process holds"}


def _leaf_around(leaves: Sequence[Leaf], offset: int) -> Optional[Leaf]:
    return next((leaf for leaf in leaves if leaf.offset <= offset < leaf.offset + max(leaf.size, 1)), None)


def _in_futex(blocked: Blocked, pid: int, state: State, leaves: Sequence[Leaf], name_of: Callable[[int], str]) -> str:
    found = state.at(pid, blocked.arguments[0])
    if found is None:
        return "in memory of its own, where no other process can wake it"
    key, offset = found
    fields = fields_of(state.items[key].title, leaves)
    if fields is not leaves:
        return f"for {state.items[key].title}"
    leaf = _leaf_around(fields, offset)
    if leaf is None:
        return f"at byte {offset} of {state.items[key].title}"
    value = state.items[key].fields.get(leaf.name, "")
    if blocked.private_futex:
        return f"for {leaf.name}, so that only threads of its own process could wake it"
    owner = re.match(r"locked by (\d+)", value)
    if owner:
        return f"for {leaf.name}, which {name_of(int(owner[1]))} has locked"
    return f"for {leaf.name}, which is {value}" if leaf.kind == "sem_t" and value else f"for {leaf.name}"


def waits_for(blocked: Optional[Blocked], pid: int, state: State, leaves: Sequence[Leaf], parents: Dict[int, int],
              name_of: Callable[[int], str]) -> str:
    """Returns the end of the phrase "it waits …".

    @param blocked  the system call in which the process waits, if it is known
    @param parents  the parent of each process that has not ended
    @param name_of  what to call a process
    """
    if blocked is None:
        return "for something unknown"
    if blocked.in_futex:
        return _in_futex(blocked, pid, state, leaves, name_of)
    if blocked.waits_for_child:
        children = [name_of(child) for child, parent in parents.items() if parent == pid]
        return "for " + (" or ".join(children) if children else "a child") + " to end"
    return _FOR.get(blocked.name, f"in {blocked.name}()")
