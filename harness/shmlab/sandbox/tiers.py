"""Finds out which tier this machine supports, and describes it to the user."""
from __future__ import annotations

import os
import subprocess
from functools import lru_cache
from typing import FrozenSet, Optional, Tuple

from ..labs import UserError
from . import native
from .box import Box
from .channel import BoxRefused

#: What programs of the host tier cannot do, in the words of `box --promises`.
HOST_TIER_PROMISES = {"files": "read this project, home or scratch directories, write outside their own directory and /dev/shm",
                      "network": "use the network", "signals": "signal other processes"}
HOST_TIER_LACKS = "share this machine's segments, objects{} and processors: run only code that you trust"


@lru_cache(maxsize=None)
def _probe() -> Tuple[str, str]:
    """Returns the best tier that this machine supports, and why not a better one."""
    try:
        with Box("namespaces"):
            return "namespaces", ""
    except BoxRefused as refusal:
        return "host", str(refusal)


def choose_tier(wanted: Optional[str]) -> str:
    """Returns the tier to use: `wanted` or else $SHMLAB_TIER if set, otherwise the best that the machine supports.

    Raises UserError if the machine does not support it.
    """
    wanted = wanted or os.environ.get("SHMLAB_TIER") or "auto"
    if wanted not in ("auto", "namespaces", "host"):
        raise UserError(f"there is no tier '{wanted}': it is namespaces, host or auto")
    if wanted == "namespaces" and _probe()[0] != "namespaces":
        raise UserError(f"this machine refuses namespaces ({_probe()[1]}): use --tier host, or a machine that has them")
    return _probe()[0] if wanted == "auto" else wanted


def why_no_better() -> str:
    """Returns why this machine refuses namespaces; empty if it supports them."""
    return _probe()[1]


@lru_cache(maxsize=None)
def host_promises() -> FrozenSet[str]:
    """What the host tier promises on this machine: "files", "network", "signals"; "user": a user of the programs' own."""
    done = subprocess.run([str(native.box_program()), "--tier", "host", "--promises"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True)
    return frozenset(done.stdout.split())


def describe_tier(tier: str) -> str:
    """Returns one line for the user: the tier, and what it does not protect from."""
    if tier == "namespaces":
        return "box: each program runs in its own user, pid, ipc, mount, net and uts namespaces"
    reason = f" ({_probe()[1]})" if _probe()[1] else " (asked for)"
    cannot = [words for promise, words in HOST_TIER_PROMISES.items() if promise in host_promises()]
    contained = "files" in host_promises()
    listed = ", ".join(cannot[:-1]) + " or " * (len(cannot) > 1) + "".join(cannot[-1:])
    promised = f"programs cannot {listed}; they" if cannot else "programs"
    return (f"box: {'Landlock and seccomp' if contained else 'none'}{reason}; {promised} "
            f"{HOST_TIER_LACKS.format('' if contained else ', files')}")
