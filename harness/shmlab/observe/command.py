"""The command line of the observer.

Options have the names that lsns(8), lsfd(1) and lsof(8) use. Exit status 0, 1 if the list has an orphan, 2 for a usage error.
"""
from __future__ import annotations

import getopt
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional, Tuple

    from .machine import Machine
    from .objects import Object
    from .table import Style

USAGE = """usage: shmls [options]

Lists all shared memory of this machine: System V segments, POSIX objects,
named semaphores, memfds, anonymous shared mappings, shared mappings of files.
Orphans, which no process has, come first; then what was removed and is held.

 -p, --pid PID         only what this process has
 -o, --object NAME     only objects of this name, path, key or shmid, in full
 -a, --all             also files that are only read, devices, the kernel's own
     --pss             also the memory of each, every page divided by its users
                       (PSS); slow
 -b, --bytes           sizes in bytes
 -n, --noheadings      no headings, and no remarks
 -u, --notruncate      names in full, however wide
 -J, --json            as JSON
     --dot, --svg      as a graph of processes and objects
     --watch[=SECONDS] again every 2 seconds, until Ctrl-C
 -h, --help            this text

 STATE  orphan: no process has it; removed: no name any more, and still held;
        removed?: perhaps so; unseen: perhaps held by what may not be read
 SIZE   98K+: at least that much    RES  what is in memory    -: not known
 HOW    mapped rw or ro, or fd: only open      SINCE  when it was made
 PID    the first of the PROCS processes that have it

Exit status: 1 if there are orphans, 2 if the options are wrong, else 0.
It removes nothing.
"""
_LONG = ["pid=", "object=", "all", "pss", "bytes", "noheadings", "notruncate", "json", "dot", "svg", "watch", "help"]
_SHORT_NAMES = {"-p": "pid", "-o": "object", "-a": "all", "-b": "bytes", "-n": "noheadings", "-u": "notruncate", "-J": "json",
                "-h": "help"}
_DEFAULT_WIDTH = 80


class UsageError(Exception):
    """Its text is one line that says what is wrong with the command line."""


def _parsed(words: "List[str]") -> "Dict[str, str]":
    """Returns the options by their long names. getopt has no optional values, so --watch is looked for first."""
    options = {}
    rest = []
    for word in words:
        if word == "--watch" or word.startswith("--watch="):
            options["watch"] = word[len("--watch="):] or "2"
        else:
            rest.append(word)
    try:
        pairs, others = getopt.gnu_getopt(rest, "p:o:abnuJh", _LONG)
    except getopt.GetoptError as error:
        raise UsageError(f"{error.msg}; --help lists the options") from None
    if others:
        raise UsageError(f"'{others[0]}' is not an option: write -o {others[0]} for an object, -p {others[0]} for a process")
    options.update({_SHORT_NAMES.get(name) or name[2:]: value for name, value in pairs})
    forms = [name for name in ("json", "dot", "svg") if name in options]
    if len(forms) > 1:
        raise UsageError(f"--{forms[0]} and --{forms[1]} exclude each other")
    if forms and "watch" in options:
        raise UsageError(f"--{forms[0]} and --watch exclude each other")
    if "pid" in options and not (options["pid"].isascii() and options["pid"].isdigit() and int(options["pid"]) < 1 << 31):
        raise UsageError(f"'{options['pid']}' is not a pid")
    return options


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.01 <= seconds <= 86400:
        raise UsageError(f"'{text}' is not a number of seconds from 0.01 to 86400")
    return seconds


def _width(options: "Dict[str, str]") -> Optional[int]:
    if "notruncate" in options:
        return None
    columns = os.environ.get("COLUMNS", "")
    if columns.isascii() and columns.isdigit() and 0 < int(columns) < 10000:
        return int(columns)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or _DEFAULT_WIDTH
    except (OSError, ValueError):
        return _DEFAULT_WIDTH


def _style(options: "Dict[str, str]") -> Style:
    import time

    from .table import Style

    return Style(_width(options), "bytes" in options, "noheadings" not in options, "pss" in options, time.time())


def _selected(machine: Machine, options: "Dict[str, str]") -> "Tuple[List[Object], List[Object]]":
    """Returns the objects that the options ask for, and those that only --all would add. Raises UsageError if none can be."""
    objects = machine.objects
    if "pid" in options:
        pid = int(options["pid"])
        if pid in machine.denied:
            raise UsageError(f"process {pid} belongs to another user, and may not be read")
        if not os.path.exists(f"/proc/{pid}"):
            raise UsageError(f"there is no process {pid}")
        objects = [item for item in objects if pid in item.holders]
    if "object" in options:
        objects = [item for item in objects if item.is_called(options["object"])]
        if not objects:
            whose = f" of process {options['pid']}" if "pid" in options else " that this user can see"
            raise UsageError(f"there is no object '{options['object']}'{whose}")
        return objects, []
    if "all" in options:
        return objects, []
    return [item for item in objects if item.common], [item for item in objects if not item.common]


def _report(options: "Dict[str, str]") -> "Tuple[str, List[str], int]":
    """Looks once. Returns the output, the remarks, and the exit status."""
    from .machine import Machine

    machine = Machine("pss" in options, "all" in options or "object" in options)
    objects, hidden = _selected(machine, options)
    status = 1 if any(item.state == "orphan" for item in objects) else 0
    if "dot" in options or "svg" in options:
        from . import graph

        return (graph.dot if "dot" in options else graph.svg)(objects), machine.reports(), status
    from . import table

    if "json" in options:
        return table.as_json(machine, objects, len(hidden)), [], status
    style = _style(options)
    only = int(options["pid"]) if "pid" in options else None
    if "object" in options:
        shown = objects if only is None else [item for item in objects if only in item.holders]
        text = table.table(shown, style, only)
        lines = text.splitlines(keepends=True)
        heads = lines[:1] if style.headings else []
        text = "".join(heads) + "\n".join(line + table.full(item, style) for item, line in zip(shown, lines[len(heads):]))
        remarks = ["not seen: " + sentence for sentence in machine.reports()]
    else:
        text = table.table(objects, style, only)
        remarks = [] if only is not None else table.remarks(machine, objects, hidden, style)
    if style.headings:
        return text + table.commands(objects), remarks, status
    return text, [], status


def _watch(options: "Dict[str, str]") -> int:
    """Looks again and again, until Ctrl-C. Without a terminal it prints only when something has changed."""
    import time

    seconds = _seconds(options["watch"])
    before, status = "", 0
    try:
        while True:
            text, remarks, status = _report(options)
            if sys.stdout.isatty():
                text = time.strftime("%H:%M:%S\n") + text + "\n" + "".join(line + "\n" for line in remarks)
                print("\x1b[H" + text.replace("\n", "\x1b[K\n") + "\x1b[J", end="", flush=True)
            elif text != before:
                print(time.strftime("%H:%M:%S\n") + text, flush=True)
            before = text
            time.sleep(seconds)
    except KeyboardInterrupt:
        print()
        return status


def main(words: "List[str]", program: str = "shmls") -> int:
    """Runs the command. Returns the exit status."""
    for stream in sys.stdout, sys.stderr:
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a name can contain any byte
    try:
        options = _parsed(words)
        if "help" in options:
            print(USAGE, end="")
            return 0
        if "watch" in options:
            return _watch(options)
        text, remarks, status = _report(options)
        sys.stdout.write(text)
        sys.stdout.flush()
        if remarks:
            sys.stderr.write(("\n" if text else "") + "".join(line + "\n" for line in remarks))
        return status
    except UsageError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, head(1) say, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def run() -> None:
    """The entry point of the observer as one file."""
    sys.exit(main(sys.argv[1:], os.path.basename(sys.argv[0])))
