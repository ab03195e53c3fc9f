"""Reads what has a name: the segments of each IPC namespace, and the objects in /dev/shm of each mount namespace.

Sources: proc_sysvipc(5), shm_overview(7), ipc_namespaces(7), setns(2).
"""
from __future__ import annotations

import os
import stat

from .objects import Object, device_text, named_kind
from .processes import Scan, set_status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, List, Optional, Tuple

SHM_DEST = 0o1000
HUGE_PAGE = 2 << 20  # bytes, the usual size
GONE = "gone"
_CLONE_NEWIPC, _CLONE_NEWUSER, _NS_GET_USERNS = 0x08000000, 0x10000000, 0xB701


def rows(text: str) -> "Iterator[dict[str, int]]":
    """Parses /proc/sysvipc/shm. The columns are found by the names in its first line; `perms` is octal there."""
    lines = text.splitlines()
    columns = lines[0].split() if lines else []
    for line in lines[1:]:
        values = line.split()
        if len(values) == len(columns):
            yield {name: int(value, 8 if name == "perms" else 10) for name, value in zip(columns, values)}


def segments(scan: Scan) -> "List[Tuple[str, str]]":
    """Adds the segments of all IPC namespaces. Returns the namespaces that could not be entered, each with a reason."""
    refused, read = [], set()
    for namespace in sorted({scan.own_ipc, *scan.ipc_namespaces}, key=lambda number: number != scan.own_ipc):
        users_are_ours = True
        if namespace == scan.own_ipc:
            try:
                with open("/proc/sysvipc/shm", encoding="ascii") as file:
                    text = file.read()
            except OSError as error:
                refused.append((namespace, error.strerror))
                continue
        else:
            reply = _in_namespace(scan.ipc_namespaces[namespace])
            if reply == GONE:
                continue
            if reply[0] not in "+=":
                refused.append((namespace, reply))
                continue
            users_are_ours, text = reply[0] == "=", reply[1:]
        read.add(namespace)
        _add_segments(scan, namespace, text, users_are_ours)
    for (namespace, shmid), items in scan.attached.items():  # the table could not be read, or has not got it
        for item in items:
            if namespace not in read and len(items) == 1:
                scan.objects[item.identity] = item
            else:
                _leave(scan, item)
            item.name = "0x" + item.text[5:13]
    return refused


def _add_segments(scan: Scan, namespace: str, text: str, users_are_ours: bool) -> None:
    for row in rows(text):
        key, dest = row["key"] & 0xFFFFFFFF, bool(row["perms"] & SHM_DEST)
        found = scan.attached.pop((namespace, row["shmid"]), [])
        own = next((item for item in found if dest or item.text[5:13] == f"{key:08x}"), None)
        for other in found:
            if other is not own:
                other.name = "0x" + other.text[5:13]
                _leave(scan, other)
        item = own or Object(("sysv", namespace, row["shmid"]), "sysv", "")
        scan.objects[item.identity] = item
        item.dest = dest
        item.key, item.size, item.resident = key, row["size"], row.get("rss")
        # Linux 6.18 counts each huge page 512 times here. No other segment has more than its size in whole pages.
        if item.resident is not None and item.resident > _whole(item.size, os.sysconf("SC_PAGESIZE")):
            item.huge, item.resident = True, min(item.resident, _whole(item.size, HUGE_PAGE))
        item.name = f"0x{int(item.text[5:13], 16) if dest and item.text else key:08x}"
        item.attached, item.creator, item.since = row["nattch"], row["cpid"], row["ctime"]
        item.mode, item.uid = row["perms"] & 0o777, row["uid"] if users_are_ours else None


def _whole(size: int, page: int) -> int:
    return -(-size // page) * page


def _leave(scan: Scan, item: Object) -> None:
    """Adds a segment that is not of the IPC namespace of its processes: they attached it before they entered that."""
    item.notes.append(f"attached before its processes entered IPC namespace {item.identity[1]}; its own is not known")
    item.identity = ("sysv", f"before {item.identity[1]}, {item.text[5:13]}", item.identity[2])
    scan.objects[item.identity] = item


def _in_namespace(pids: "List[int]") -> str:
    """Returns /proc/sysvipc/shm as the IPC namespace of these processes has it, after "=", or after "+" if uids are not ours.

    A reader sees its own namespace's table through every path, so a child enters the other one; without privilege it first
    has to enter the user namespace that owns it. Otherwise returns the reason why it may not; GONE if they all have ended.
    """
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(receiver)
            reply = _enter_and_read(pids)
        except OSError as error:
            reply = error.strerror or "?"
        except BaseException as error:  # the parent must not run twice, whatever happens here
            reply = type(error).__name__
        try:
            with open(sender, "w", encoding="ascii", errors="replace") as file:
                file.write(reply)
        finally:
            os._exit(0)
    os.close(sender)
    with open(receiver, encoding="ascii", errors="replace") as file:
        reply = file.read()
    os.waitpid(child, 0)
    return reply or "?"


def _open_namespace(pids: "List[int]") -> int:
    for pid in pids:
        try:
            return os.open(f"/proc/{pid}/ns/ipc", os.O_RDONLY)
        except (FileNotFoundError, ProcessLookupError):
            continue
    raise FileNotFoundError(0, GONE)


def _enter_and_read(pids: "List[int]") -> str:
    import ctypes
    import fcntl

    libc = ctypes.CDLL(None, use_errno=True)

    def enter(fd: int, kind: int) -> None:
        if libc.setns(fd, kind) == -1:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    fd = _open_namespace(pids)
    mark = "="
    try:
        enter(fd, _CLONE_NEWIPC)
    except PermissionError:
        enter(fcntl.ioctl(fd, _NS_GET_USERNS), _CLONE_NEWUSER)
        enter(fd, _CLONE_NEWIPC)
        mark = "+"
    with open("/proc/sysvipc/shm", encoding="ascii") as file:
        return mark + file.read()


def directories(scan: Scan) -> "Iterator[Tuple[str, str]]":
    """Returns the path of each file system that is mounted at /dev/shm in some mount namespace, and the namespace."""
    seen = set()
    for namespace in sorted({scan.own_mount, *scan.mount_namespaces}, key=lambda number: number != scan.own_mount):
        own = namespace == scan.own_mount
        for root in [""] if own else [f"/proc/{pid}/root" for pid in scan.mount_namespaces[namespace][:3]]:
            try:
                device = os.stat(root + "/dev/shm").st_dev
            except OSError:
                continue
            if device not in seen:
                seen.add(device)
                yield root + "/dev/shm", namespace
            break


def named_objects(scan: Scan) -> "Tuple[List[str], dict[tuple[str, str, int], str]]":
    """Adds the objects in every /dev/shm. Returns the devices that were listed in full, and where each object is.

    This comes after the processes were read: an object that is mapped and not found then has no name any more.
    """
    complete, paths = [], {}
    for directory, _ in directories(scan):
        device = device_text(os.stat(directory).st_dev)
        whole = True
        waiting = [directory]
        while waiting:
            place = waiting.pop()
            try:
                entries = list(os.scandir(place))
            except OSError:
                whole = False  # a directory in it that this user may not read
                continue
            for entry in entries:
                try:
                    status = entry.stat(follow_symlinks=False)
                except OSError:
                    continue  # unlinked at this moment
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(entry.path)
                if not stat.S_ISREG(status.st_mode):
                    continue
                identity = ("inode", device_text(status.st_dev), status.st_ino)
                kind, name = named_kind(entry.path[len(directory):])
                item = scan.objects.get(identity)
                if item is None:
                    item = scan.objects[identity] = Object(identity, kind, name)
                elif identity in paths and item.text != entry.path:
                    continue  # a second name of it
                item.kind, item.name = kind, name
                set_status(item, entry.path, status)
                paths[identity] = entry.path
        if whole:
            complete.append(device)
    return complete, paths


def shmem(scan: Scan) -> "Optional[Tuple[int, int, int]]":
    """Compares with Shmem of /proc/meminfo, which counts the pages of all objects and all files on tmpfs.

    Returns in bytes: Shmem; what the objects have that are in no mounted tmpfs; and what is in those. Pages in
    the swap area are in the second and third, and not in the first.
    """
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            total = next(int(line.split()[1]) * 1024 for line in file if line.startswith("Shmem:"))
    except (OSError, StopIteration):
        return None
    files, mounted = 0, tmpfs(scan)
    for path in mounted.values():
        try:
            used = os.statvfs(path)
        except OSError:
            continue  # the last process of its mount namespace has ended
        files += (used.f_blocks - used.f_bfree) * used.f_frsize
    objects = sum(item.resident or 0 for item in scan.objects.values() if item.kind not in ("file", "device") and not item.huge
                  and item.identity[1] not in mounted and not scan.internal.get(item.identity[1]))
    return total, objects, files


def tmpfs(scan: Scan) -> "dict[str, str]":
    """Returns a path of each tmpfs that is mounted in the mount namespaces of the processes, by its device."""
    found: "dict[str, str]" = {}
    for namespace in [scan.own_mount, *(other for other in scan.mount_namespaces if other != scan.own_mount)]:
        own = namespace == scan.own_mount
        for pid in ["self"] if own else [str(pid) for pid in scan.mount_namespaces[namespace][:3]]:
            try:
                with open(f"/proc/{pid}/mountinfo", "rb") as mounts:
                    lines = [line.split(b" - ") for line in mounts]
            except OSError:
                continue
            for before, after in lines:
                if after.split()[0] in (b"tmpfs", b"devtmpfs"):
                    _add_mount(found, before, "" if own else f"/proc/{pid}/root")
            break
    return found


def _add_mount(found: "dict[str, str]", line: bytes, root: str) -> None:
    """Adds the mount of a line of mountinfo, see proc_pid_mountinfo(5), unless something else is mounted over it."""
    words = line.split()
    major, minor = words[2].split(b":")
    device = f"{int(major):02x}:{int(minor):02x}"
    if device not in found:
        path = root + os.fsdecode(words[4].decode("unicode_escape").encode("latin-1"))
        try:
            if device_text(os.stat(path).st_dev) == device:
                found[device] = path
        except OSError:
            pass
