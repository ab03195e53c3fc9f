"""Finds out which tier this machine supports, and describes it to the user."""
from __future__ import annotations

import os
from functools import lru_cache
from typing import Optional, Tuple

from ..labs import UserError
from .box import Box
from .channel import BoxRefused

HOST_TIER_WARNING = ("programs share this machine's segments, objects and files, and a program that means harm is "
                     "not contained: run only code that you trust")


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


def describe_tier(tier: str) -> str:
    """Returns one line for the user: the tier, and what it does not protect from."""
    if tier == "namespaces":
        return "box: each program runs in its own user, pid, ipc, mount, net and uts namespaces"
    reason = f" ({_probe()[1]})" if _probe()[1] else " (asked for)"
    return f"box: none{reason}; {HOST_TIER_WARNING}"
