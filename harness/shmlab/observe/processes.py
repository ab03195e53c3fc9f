"""Reads which process has which object: the shared lines of /proc/PID/maps, and the descriptors in /proc/PID/fd.

This is what takes time on a machine with many processes, so it looks for shared lines in the whole text and parses no other.
Sources: proc_pid_maps(5), proc_pid_smaps(5), proc_pid_fd(5), proc_pid_map_files(5).
"""
from __future__ import annotations

import errno
import os
import re
import stat

from .objects import Object, device_text, internal_devices, kind_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterable, List, Optional, Tuple

    from .objects import Identity

# The flags of a shared mapping end in "s"; in other places of the text this can only be a part of a name.
_SHARED = re.compile(rb"s [0-9a-f]{8,} [0-9a-f]+:[0-9a-f]+ \d+")
_LINE = re.compile(rb"([0-9a-f]+)-([0-9a-f]+) (...)s ([0-9a-f]+) ([0-9a-f]+:[0-9a-f]+) (\d+)(?: +(.*))?")
#: What the descriptors of shared memory are called by the kernel; hugetlbfs and /dev/shm elsewhere are added when they exist.
_DESCRIPTORS = ("/memfd:", "/dev/shm/", "/SYSV", "/dev/zero (deleted)", "/anon_hugepage")


class Scan:
    """The processes of the machine at one moment, and the objects that they have.

    `attached` has segments by the IPC namespace of their processes and the shmid: those of two keys are two. names.segments() finds
    out which of them is of that namespace, and adds them to the objects. `denied` has the processes that this user may not read,
    with the uid of each. `read` counts the others.
    """

    def __init__(self) -> None:
        self.objects: Dict[Identity, Object] = {}
        self.attached: Dict[Tuple[str, int], List[Object]] = {}
        self.denied: Dict[int, int] = {}
        self.read = 0
        self.mappings = 0
        self.internal = internal_devices()
        self._mapped: Dict[Tuple[str, bytes, bytes, bytes], Object] = {}  # by the IPC namespace and the end of the line
        self.ipc_namespaces: Dict[str, List[int]] = {}    # the processes in each that were read
        self.mount_namespaces: Dict[str, List[int]] = {}
        self.own_ipc = _namespace("/proc/self/ns/ipc")
        self.own_mount = _namespace("/proc/self/ns/mnt")

    def all_processes(self) -> None:
        """Reads every process that is there. One that ends meanwhile has nothing any more, and is no error."""
        for name in os.listdir("/proc"):
            if name.isdigit():
                self.process(int(name))

    def process(self, pid: int) -> None:
        """Reads one process through a descriptor of its directory, which never becomes another process's."""
        try:
            directory = os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return
        try:
            self._process(pid, directory)
        except PermissionError:
            if _has_memory(directory):
                self.denied[pid] = os.fstat(directory).st_uid
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ESRCH):
                raise
        finally:
            os.close(directory)

    def _process(self, pid: int, directory: int) -> None:
        text = _contents("maps", directory)
        base = ""
        if not text:  # a kernel thread or a zombie; or the first thread has ended, and others run on
            for thread in os.listdir(f"/proc/{pid}/task"):
                if thread != str(pid):
                    base = f"task/{thread}/"
                    text = _contents(base + "maps", directory)
                    break
            if not text:
                return
        ipc = os.readlink(base + "ns/ipc", dir_fd=directory)[5:-1]
        self.ipc_namespaces.setdefault(ipc, []).append(pid)
        mount = os.readlink(base + "ns/mnt", dir_fd=directory)[5:-1]
        self.mount_namespaces.setdefault(mount, []).append(pid)
        self.read += 1
        for found in _SHARED.finditer(text):
            line = _LINE.match(text, text.rfind(b"\n", 0, found.start()) + 1)
            if line and line.start(4) == found.start() + 2:
                self.mappings += 1
                start, end, flags, offset, device, inode, name = line.groups()
                known = (ipc, device, inode, name)
                item = self._mapped.get(known)
                if item is None:
                    item = self._mapped[known] = self._object_of(ipc, device.decode(), int(inode), os.fsdecode(name or b""))
                item.holder(pid).lines.append((start, end, flags, offset))
        self._descriptors(pid, base, directory, ipc)

    def _object_of(self, ipc: str, device: str, inode: int, text: str) -> Object:
        """Returns the object of what the kernel calls by this name for a process in this IPC namespace."""
        kind, name = kind_of(device, text.replace("\\012", "\n"), self.internal)
        if kind == "sysv":
            others = self.attached.setdefault((ipc, inode), [])
            item = next((other for other in others if other.text == text), None) or Object(("sysv", ipc, inode), kind, name)
            if not item.text:
                others.append(item)
        else:
            identity = ("inode", device, inode)
            item = self.objects.get(identity) or Object(identity, kind, name)
            self.objects[identity] = item
        item.text = item.text or text
        return item

    def _descriptors(self, pid: int, base: str, directory: int, ipc: str) -> None:
        try:
            opened = os.open(base + "fd", os.O_RDONLY | os.O_DIRECTORY, dir_fd=directory)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM):
                raise
            return
        try:
            for name in os.listdir(opened):
                try:
                    target = os.readlink(name, dir_fd=opened)
                    if not target.startswith(_DESCRIPTORS):
                        continue
                    status = os.stat(name, dir_fd=opened)
                    mode = os.stat(name, dir_fd=opened, follow_symlinks=False).st_mode
                except OSError:
                    continue  # it was closed at this moment
                if not stat.S_ISREG(status.st_mode):
                    continue
                item = self._object_of(ipc, device_text(status.st_dev), status.st_ino, target)
                access = ("r" if mode & stat.S_IRUSR else "") + ("w" if mode & stat.S_IWUSR else "")
                item.holder(pid).descriptors.append((int(name), {"r": "ro", "w": "wo"}.get(access, access)))
                if item.links is None:
                    set_status(item, f"/proc/{pid}/{base}fd/{name}", status)
        finally:
            os.close(opened)

    def details(self) -> None:
        """Asks for size, memory and number of names of the objects that are mapped: permitted to root alone."""
        for item in self.objects.values():
            if item.links is None and item.kind != "sysv":
                for pid, holder in item.holders.items():
                    mapping = holder.mappings[0]
                    path = f"/proc/{pid}/map_files/{mapping.start:x}-{mapping.end:x}"
                    try:
                        status = os.stat(path)
                    except PermissionError:
                        break
                    except OSError:
                        continue  # unmapped at this moment
                    if ("inode", device_text(status.st_dev), status.st_ino) == item.identity or item.kind == "file":
                        set_status(item, path, status)  # on overlayfs and btrfs stat(2) reports another device than maps
                        break

    def memory(self, items: Iterable[Object]) -> None:
        """Reads how much of each mapping is in memory from /proc/PID/smaps, for the holders of these objects."""
        wanted = {(pid, mapping.start): (mapping, len(item.holders)) for item in items for pid, holder in item.holders.items()
                  for mapping in holder.mappings}
        for pid in {pid for pid, _ in wanted}:
            try:
                text = _contents(f"/proc/{pid}/smaps", None)
            except OSError:
                continue
            for found in _SHARED.finditer(text):
                line = _LINE.match(text, text.rfind(b"\n", 0, found.start()) + 1)
                mapping, holders = wanted.get((pid, int(line[1], 16)), (None, 0)) if line else (None, 0)
                if mapping is not None:
                    mapping.rss = _field(text, b"\nRss:", found.end())
                    mapping.pss = _field(text, b"\nPss:", found.end())
                    mapping.swap = _field(text, b"\nSwap:", found.end())
                    # Huge pages are counted neither in Rss nor in Pss.
                    divided, own = (_field(text, name, found.end()) for name in (b"\nShared_Hugetlb:", b"\nPrivate_Hugetlb:"))
                    mapping.rss += divided + own
                    mapping.pss += divided // max(holders, 1) + own


def _has_memory(directory: int) -> bool:
    """Whether a process that could not be read is there, and neither a zombie nor a kernel thread, which have no memory.

    The kernel also answers EACCES for a process that ended at this moment.
    """
    try:
        fields = _contents("stat", directory).rsplit(b")", 1)[1].split()
    except OSError:
        return False
    kernel_thread = 0x00200000  # PF_KTHREAD
    return fields[0] not in (b"Z", b"X") and not int(fields[6]) & kernel_thread


def _field(text: bytes, name: bytes, start: int) -> int:
    """Returns a size from smaps in bytes: the first of this name after a position."""
    at = text.find(name, start)
    return int(text[at + len(name):text.index(b" kB", at)]) * 1024 if at >= 0 else 0


def _contents(path: str, directory: "Optional[int]") -> bytes:
    fd = os.open(path, os.O_RDONLY, dir_fd=directory)
    try:
        parts = []
        while part := os.read(fd, 1 << 20):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(fd)


def _namespace(path: str) -> str:
    """Returns the number of a namespace, "4026531839"; empty if this kernel has none."""
    try:
        return re.sub(r"\D", "", os.readlink(path))
    except OSError:
        return ""


def set_status(item: Object, path: str, status: os.stat_result) -> None:
    """Sets what stat(2) reports about an object. The blocks of a file are on a disk, unless it is in a tmpfs."""
    item.path, item.size = path, status.st_size
    item.resident = None if item.kind in ("file", "device") else status.st_blocks * 512
    item.links, item.uid, item.mode = status.st_nlink, status.st_uid, stat.S_IMODE(status.st_mode)
    item.since = _birth(path) or int(min(status.st_mtime, status.st_ctime))


def _birth(path: str) -> "Optional[int]":
    """Returns the time of a file's creation from statx(2); None if the C library or the file system does not have it."""
    import ctypes
    import struct

    buffer = ctypes.create_string_buffer(256)
    at_fdcwd, btime = -100, 0x800
    try:
        failed = ctypes.CDLL(None).statx(at_fdcwd, os.fsencode(path), 0, btime, buffer)
    except (OSError, AttributeError):
        return None
    if failed or not struct.unpack_from("I", buffer)[0] & btime:  # stx_mask
        return None
    return int(struct.unpack_from("q", buffer, 80)[0])  # stx_btime.tv_sec


def command_of(pid: int) -> str:
    """Returns the name of a process's program, see proc_pid_comm(5); empty if it has ended."""
    try:
        with open(f"/proc/{pid}/comm", "rb", buffering=0) as file:
            return os.fsdecode(file.read()).rstrip("\n")
    except OSError:
        return ""


def started(pid: int) -> "Optional[float]":
    """Returns when a process was started, in seconds since the Epoch; None if it has ended. See proc_pid_stat(5).

    A zombie has ended, too.
    """
    try:
        fields = _contents(f"/proc/{pid}/stat", None).rsplit(b")", 1)[1].split()
        boot = next(int(line.split()[1]) for line in _contents("/proc/stat", None).splitlines() if line.startswith(b"btime"))
    except OSError:
        return None
    if fields[0] in (b"Z", b"X"):
        return None
    return boot + int(fields[19]) / os.sysconf("SC_CLK_TCK")
