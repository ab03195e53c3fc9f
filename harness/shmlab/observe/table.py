"""The list as a table in text, one object in full, and as JSON."""
from __future__ import annotations

import os

from .machine import Machine
from .objects import DELETED, KINDS, ORPHAN, USED, Object, access_of, plain
from .processes import command_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, List, Optional, Sequence

_ACCESS_ORDER = ("rw", "ro", "wo", "rx", "rwx", "none", "fd")
_RIGHT = {"SIZE", "RES", "PSS", "PROCS", "PID"}  # the columns of numbers
_LEAST_NAME = 12


class Style:
    """How to print: `width` columns or None for as many as it takes, sizes in `bytes`, with `headings`, with a PSS column."""

    def __init__(self, width: Optional[int], in_bytes: bool, headings: bool, pss: bool, now: float) -> None:
        self.width, self.in_bytes, self.headings, self.pss, self.now = width, in_bytes, headings, pss, now

    def size(self, number: Optional[int], at_least: bool = False) -> str:
        """Returns a size like "98K", or "-" if it is not known; "+" after one that is only known to be at least that."""
        if number is None:
            return "-"
        return (str(number) if self.in_bytes else human(number)) + ("+" if at_least else "")

    def share(self, pss: Optional[int], rss: Optional[int]) -> str:
        """Returns a PSS. The kernel rounds it down to whole KiB, so that 0 may be the share of a page that many have."""
        return "<1K" if pss == 0 and rss and not self.in_bytes else self.size(pss)

    def moment(self, since: Optional[int]) -> str:
        """Returns a time like ps(1) does: "07:35" within the last 24 hours, then "Nov28", then the year."""
        import time

        if since is None:
            return "-"
        parts = time.localtime(since)
        if 0 <= self.now - since < 86400:
            return time.strftime("%H:%M", parts)
        return time.strftime("%b%d" if parts.tm_year == time.localtime(self.now).tm_year else "%Y", parts)


def human(number: int) -> str:
    """Returns a size in at most five characters: "4K", "1.2M"."""
    value, unit = float(number), "B"
    for unit in "BKMGTPE":
        if value < 1023.5:
            break
        value /= 1024
    text = f"{value:.1f}" if value < 9.95 and unit != "B" else f"{value:.0f}"
    return text.replace(".0", "") + unit


def access_text(words: "set[str] | frozenset[str]") -> str:
    ordered = sorted(words, key=lambda word: _ACCESS_ORDER.index(word) if word in _ACCESS_ORDER else 0)
    return "+".join(ordered) or "-"


def shown_name(item: Object) -> str:
    if item.kind == "sysv":
        return f"{item.name} id {item.identity[2]}"
    return plain(item.name) if item.name else f"inode {item.identity[2]}"


def rows(objects: "Sequence[Object]", style: Style, only: Optional[int]) -> "List[Dict[str, str]]":
    """Returns the cells of each object. With `only`, a pid, what is said about processes is about that one."""
    found = []
    for item in objects:
        holders = {only: item.holders[only]} if only is not None else item.holders
        first = min(holders, default=None)
        cells = {"STATE": item.state if item.state != USED else "-", "KIND": item.kind, "NAME": shown_name(item),
                 "SIZE": style.size(item.size, item.size_at_least), "RES": style.size(item.resident)}
        if style.pss:
            known = list(holders.values())
            cells["PSS"] = style.share(_total(holder.pss for holder in known), _total(holder.rss for holder in known))
        cells["SINCE"] = style.moment(item.since)
        access = {word for holder in holders.values() for word in holder.access}
        cells["HOW"], cells["PROCS"] = access_text(access), str(len(item.holders)) if item.holders else _nobody(item)
        cells["PID"] = str(first) if first is not None else "-"
        cells["COMMAND"] = plain(command_of(first)) or "-" if first is not None else "-"
        found.append(cells)
    return found


def _total(numbers: "Iterable[Optional[int]]") -> Optional[int]:
    """Returns the sum of what is known; None if nothing is."""
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


def _nobody(item: Object) -> str:
    return "0" if item.state == ORPHAN else "-"


def table(objects: "Sequence[Object]", style: Style, only: Optional[int] = None) -> str:
    """Returns the table. Names are cut where it would be wider than the terminal."""
    cells = rows(objects, style, only)
    columns = ["STATE", "KIND", "NAME", "SIZE", "RES", *(["PSS"] if style.pss else []), "SINCE", "HOW", "PROCS", "PID", "COMMAND"]
    heads = [dict(zip(columns, columns))] if style.headings else []
    widths = {name: max((len(row[name]) for row in [*heads, *cells]), default=0) for name in columns}
    if style.width is not None:
        for name, least in (("NAME", _LEAST_NAME), ("COMMAND", 8), ("NAME", 6)):
            over = sum(widths.values()) + len(columns) - 1 - style.width
            if over > 0:
                widths[name] = max(min(least, widths[name]), widths[name] - over)
    lines = []
    for row in [*heads, *cells]:
        parts = []
        for name in columns:
            text = _cut(row[name], widths[name])
            parts.append(text.rjust(widths[name]) if name in _RIGHT else text.ljust(widths[name]))
        lines.append(" ".join(parts).rstrip())
    return "".join(line + "\n" for line in lines)


def _cut(text: str, width: int) -> str:
    """Returns a text in at most so many columns: of a path the end, of other names the beginning."""
    if len(text) <= width:
        return text
    return "~" + text[1 - width:] if "/" in text[1:] else text[:width - 1] + "~"


def commands(objects: "Sequence[Object]") -> str:
    """Returns the commands that remove orphans, and why there is none for a segment; empty if there is nothing to say."""
    found = [item.remove for item in objects if item.remove]
    what = "it" if len(found) == 1 else "them"
    text = f"\nNo process has {what}. To remove {what}:\n" + "".join(f"  {command}\n" for command in found) if found else ""
    kept = [f"segment {item.identity[2]}: {item.notes[0]}\n" for item in objects if item.state == ORPHAN and item.notes]
    return text + ("\n" + "".join(kept) if kept else "")


def remarks(machine: Machine, objects: "Sequence[Object]", hidden: "Sequence[Object]", style: Style) -> "List[str]":
    """Returns what to know about the table, a line each: what is left out and what could not be seen."""
    found = []
    if hidden:
        words = {"file": "read-only file", "device": "device", "other": "kernel object"}
        counted = [(words[kind], sum(item.kind == kind for item in hidden)) for kind in KINDS if kind in words]
        found.append("left out: " + ", ".join(f"{count} {word}{'s' if count > 1 else ''}" for word, count in counted if count)
                     + "; --all shows them")
    found += ["not seen: " + sentence for sentence in machine.reports()]
    if any(item.resident is None and item.kind != "file" for item in objects) and os.geteuid() != 0 and not style.pss:
        found.append("not seen: memory (RES) of what is only mapped: --pss adds it up")
    if machine.shmem:
        total, seen, files = machine.shmem
        rest = total - seen - files
        text = f"Shmem {style.size(total)}: {style.size(seen)} in these objects without a file, {style.size(files)} in files of tmpfs"
        found.append(text + (f", {style.size(rest)} not seen" if rest > 0 else ""))
    return found


def full(item: Object, style: Style) -> str:
    """Returns all that is known about one object, with a line for each mapping and descriptor."""
    number = "shmid" if item.kind == "sysv" else "inode"
    facts = [f"{item.where}, {number} {item.identity[2]}"]
    if item.mode is not None:
        facts.append(f"mode {item.mode:04o}" + (f", owner {user_of(item.uid)}" if item.uid is not None else ""))
    if item.kind == "sysv" and item.attached is not None:
        facts.append(f"attached {item.attached} times, created by {_process(item.creator)}")
    elif item.links is not None:
        facts.append(f"{item.links} name{'' if item.links == 1 else 's'}")
    if item.text.endswith(DELETED) and item.links:
        facts.append(f"the kernel calls it {plain(item.text)}, a former name")
    lines = [*facts, *item.notes]
    head = ["PID", "USER", "COMMAND", "HOW", "SIZE", *(["RSS", "PSS"] if style.pss else []), "OFFSET", "WHERE"]
    cells = [head] if style.headings and item.holders else []
    for pid, holder in sorted(item.holders.items()):
        who = [str(pid), user_of(_owner(pid)), plain(command_of(pid)) or "-"]
        for mapping in holder.mappings:
            memory = [style.size(mapping.rss), style.share(mapping.pss, mapping.rss)] if style.pss else []
            cells.append([*who, access_of(mapping.flags), style.size(mapping.end - mapping.start), *memory,
                          f"0x{mapping.offset:x}", f"{mapping.start:x}-{mapping.end:x}"])
        for fd, access in holder.descriptors:
            cells.append([*who, access, "-", *(["-", "-"] if style.pss else []), "-", f"descriptor {fd}"])
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))] if cells else []
    for row in cells:
        line = " ".join(text.rjust(width) if name in ("PID", "SIZE", "RSS", "PSS", "OFFSET") else text.ljust(width)
                        for name, text, width in zip(head, row, widths))
        lines.append(line.rstrip())
    return "".join(f"  {line}\n" for line in lines)


def _process(pid: Optional[int]) -> str:
    if not pid:
        return "a process that is not seen from here"
    return f"{pid} {plain(command_of(pid)) or '(ended)'}"


def _owner(pid: int) -> Optional[int]:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None


def user_of(uid: Optional[int]) -> str:
    import pwd

    if uid is None:
        return "-"
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def as_json(machine: Machine, objects: "Sequence[Object]", hidden: int) -> str:
    """Returns the list as JSON. Sizes are in bytes and times in seconds since the Epoch; null is what is not known."""
    import json

    pids = sorted({pid for item in objects for pid in item.holders})
    data: "Dict[str, Any]" = {
        "objects": [_object(item) for item in objects],
        "processes": {str(pid): {"command": command_of(pid) or None, "uid": _owner(pid)} for pid in pids},
        "unseen": {
            "processes": len(machine.denied), "other_pid_namespaces": machine.inner, "hidden_processes": machine.hidden,
            "ipc_namespaces": [{"namespace": name, "reason": reason} for name, reason in machine.refused], "left_out": hidden},
        "shmem": dict(zip(("total", "objects", "tmpfs"), machine.shmem)) if machine.shmem else None}
    return json.dumps(data, indent=2) + "\n"


def _object(item: Object) -> "Dict[str, Any]":
    is_segment = item.kind == "sysv"
    holders = [{"pid": pid, "how": sorted(holder.access), "pss": holder.pss,
                "mappings": [{"start": m.start, "end": m.end, "flags": m.flags, "offset": m.offset, "rss": m.rss, "pss": m.pss,
                              "swap": m.swap} for m in holder.mappings],
                "descriptors": [{"fd": fd, "access": access} for fd, access in holder.descriptors]}
               for pid, holder in sorted(item.holders.items())]
    return {"kind": item.kind, "state": item.state, "name": plain(item.name) or None,
            "ipc_namespace": item.identity[1] if is_segment else None, "shmid": item.identity[2] if is_segment else None,
            "device": None if is_segment else item.identity[1], "inode": None if is_segment else item.identity[2],
            "key": item.key, "size": item.size, "size_at_least": item.size_at_least, "resident": item.resident, "pss": item.pss,
            "since": item.since, "uid": item.uid, "mode": item.mode, "names": item.links, "attached": item.attached,
            "creator": item.creator, "notes": item.notes, "remove": item.remove, "holders": holders}
