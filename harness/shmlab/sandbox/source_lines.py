"""Asks the machine's binutils what the debug information of a student's program tells. They run in a box: they parse its file."""
from __future__ import annotations

from typing import Dict, Sequence

from .box import Box
from .build import Built

ADDRESS = 0x400000  # where a program that is not position-independent usually is


def printed_about(built: Built, tier: str, *command: str) -> str:
    """Returns what a command prints about a program, whose name is appended to it."""
    with Box(tier) as box:
        box.put(built.program, built.path.read_bytes())
        run = box.start([*command, built.program], wall_ms=3000)
        box.wait(run, 4)
        return run.output[1].decode("utf-8", "replace")


def source_lines(built: Built, tier: str, addresses: Sequence[int]) -> Dict[int, str]:
    """Returns the lines, such as "file.c:31", of return addresses relative to the program's image, where addr2line(1) finds them."""
    if not addresses:
        return {}
    base = 0
    with open(built.path, "rb") as file:
        if file.read(18)[16:18] == b"\x02\x00":  # ET_EXEC: not position-independent
            base = ADDRESS
    # addr2line wants addresses last, and the program's name with -e.
    with_addresses = ["addr2line", "-s", *(hex(address + base - 1) for address in addresses), "-e"]
    lines = printed_about(built, tier, *with_addresses).splitlines()
    return {address: line.split(" ")[0] for address, line in zip(addresses, lines) if not line.startswith("?")}
