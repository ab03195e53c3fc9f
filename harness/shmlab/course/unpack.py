"""Reads an archive from standard input and writes the C sources in it to standard output. It runs alone, in a box of its own.

    python3 unpack.py NAME ENTRIES BYTES < archive

An archive is untrusted: a small one can unpack to terabytes, name a million members or hold another archive. Whatever it does
happens in this process, which the box limits. Nothing is unpacked to a file. Each line of the output is a JSON object: a
source, {"path": [...], "size": bytes, "content": base64 or null}, or {"note": text}; a file that is not a source, such as a
document, is told of without its content; the last one is {"entries": how many members
were looked at}, without which the archive was not read to its end.

@param NAME     the archive's name, whose ending tells its kind
@param ENTRIES  how many members are looked at, at most
@param BYTES    of one source, above which only its size is told
"""
import base64
import bz2
import gzip
import io
import json
import lzma
import re
import stat
import sys
import tarfile
import zipfile
from typing import Any, Callable, List

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
UNREAD = (".7z", ".rar", ".tar.zst", ".zst", ".tar.lz", ".lz", ".tar.lz4", ".lz4", ".tar.lzma", ".lzma", ".gz", ".tbz2", ".bz2", ".txz",
          ".xz", ".bundle")  # known, but not read
IGNORED = {"__MACOSX", ".git", ".svn", "build", "node_modules", "cmake-build-debug", "Thumbs.db", "desktop.ini"}
MAX_DEPTH = 8  # of directories
MAX_NESTING = 2  # of archives in archives
MAX_UNPACKED = 256 << 20  # bytes that all of it may decompress to
MAX_NESTED = 16 << 20  # bytes of an archive in an archive
MAX_CONTENT = 2 << 20  # bytes of all sources together


class TooMuch(Exception):
    """A limit is reached: nothing more is read."""


def say(**what: Any) -> None:
    print(json.dumps(what), flush=True)  # what was read so far counts, even if this process is killed


def without_suffix(name: str) -> str:
    for suffix in sorted(ARCHIVES + UNREAD, key=len, reverse=True):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def is_source(name: str) -> bool:
    return bool(re.search(r"\.[ch](\.txt)?$", name, re.I)) and not name.startswith("._")


def is_told(name: str) -> bool:
    """Whether a file is told of: a source, or what may be handed in instead of one."""
    told = re.search(r"\.(cpp|cc|cxx|c\+\+|hpp|txt|docx?|odt|rtf|pdf|o|exe|out)$", name, re.I) or name.lower().endswith(UNREAD)
    return is_source(name) or (bool(told) and not name.startswith("._"))


class Reader:
    """Reads archives within one budget, however they are nested."""

    def __init__(self, entries: int, source_limit: int) -> None:
        self.entries, self.examined, self.source_limit = entries, 0, source_limit
        self.unpacked, self.content = MAX_UNPACKED, MAX_CONTENT

    def count(self, size: int) -> None:
        """Takes unpacked bytes from the budget."""
        self.unpacked -= size
        if self.unpacked < 0:
            raise TooMuch("it unpacks to more than %d MiB" % (MAX_UNPACKED >> 20))

    def take(self, stream: Any, limit: int) -> bytes:
        """Returns the first `limit` bytes of a member."""
        found = bytearray()
        while len(found) < limit:
            chunk = stream.read(min(1 << 16, limit - len(found)))
            if not chunk:
                break
            self.count(len(chunk))
            found += chunk
        return bytes(found)

    def member(self, inside: List[str], name: str, size: int, special: str, open_member: Callable[[], Any], nesting: int) -> None:
        """Looks at one member: tells of it if it is a source, reads it if it is an archive."""
        self.examined += 1
        if self.examined > self.entries:
            raise TooMuch("it has more than %d members" % self.entries)
        name = name.replace("\\", "/").encode("utf-8", "backslashreplace").decode()
        parts = [part for part in name.split("/") if part not in ("", ".", "..")]
        if not parts or IGNORED & set(parts[:-1]):
            return
        archive = parts[-1].lower().endswith(ARCHIVES)
        if not is_told(parts[-1]) and not archive:
            return
        path = [*inside, *parts]
        if len(path) > MAX_DEPTH:
            say(note="%s is more than %d directories deep: not read" % ("/".join(path), MAX_DEPTH))
        elif special:
            say(note="%s is a %s: not followed" % ("/".join(path), special))
        elif archive:
            self.nested(path, open_member, nesting)
        elif size > self.source_limit or not is_source(parts[-1]):
            say(path=path, size=size, content=None)
        else:
            content = self.take(open_member(), self.source_limit + 1)
            self.content -= len(content)
            if self.content < 0:
                raise TooMuch("its sources have more than %d MiB" % (MAX_CONTENT >> 20))
            say(path=path, size=len(content), content=base64.b64encode(content).decode())

    def nested(self, path: List[str], open_member: Callable[[], Any], nesting: int) -> None:
        if nesting >= MAX_NESTING:
            say(note="%s is an archive in an archive in an archive: not read" % "/".join(path))
            return
        content = self.take(open_member(), MAX_NESTED + 1)
        if len(content) > MAX_NESTED:
            say(note="%s has more than %d MiB: not read" % ("/".join(path), MAX_NESTED >> 20))
            return
        self.archive(io.BytesIO(content), path[-1], path, nesting + 1)

    def archive(self, file: Any, name: str, inside: List[str], nesting: int = 0) -> None:
        """Reads one archive; what is wrong with it is a note."""
        try:
            start = file.read(4)
            file.seek(0)
            is_zip = start in (b"PK\3\4", b"PK\5\6") or (name.lower().endswith(".zip") and start[:2] not in (b"\x1f\x8b", b"BZ", b"\xfd7"))
            (self.zip if is_zip else self.tar)(file, inside, nesting)
        except TooMuch:
            raise
        except MemoryError:
            raise TooMuch("it takes too much memory") from None
        except Exception as error:  # zipfile and tarfile raise many different exceptions for damaged archives
            say(note="%s cannot be unpacked: %s" % (name, str(error) or type(error).__name__))

    def zip(self, file: Any, inside: List[str], nesting: int) -> None:
        with zipfile.ZipFile(file) as members:
            for member in members.infolist():
                if member.is_dir():
                    continue
                special = "symbolic link" if stat.S_ISLNK(member.external_attr >> 16) else ""
                if member.flag_bits & 1 and is_source(member.filename):
                    say(note="%s is encrypted: not read" % member.filename)
                    continue
                self.member(inside, member.filename, member.file_size, special, lambda: members.open(member), nesting)

    def tar(self, file: Any, inside: List[str], nesting: int) -> None:
        start = file.read(6)
        file.seek(0)
        unpacked: Any = file
        if start.startswith(b"\x1f\x8b"):
            unpacked = gzip.GzipFile(fileobj=file)
        elif start.startswith(b"BZh"):
            unpacked = bz2.BZ2File(file)
        elif start.startswith(b"\xfd7zXZ"):
            unpacked = lzma.LZMAFile(file)
        stream: Any = Counted(unpacked, self)
        with tarfile.open(fileobj=stream, mode="r|") as members:
            for member in members:
                if member.isdir():
                    continue
                special = "" if member.isfile() else "link" if member.issym() or member.islnk() else "special file"
                self.member(inside, member.name, member.size, special, lambda: members.extractfile(member), nesting)


class Counted:
    """A stream whose bytes count."""

    def __init__(self, stream: Any, reader: Reader) -> None:
        self.stream, self.reader = stream, reader

    def read(self, size: int = -1) -> bytes:
        chunk: bytes = self.stream.read(size if 0 <= size <= 1 << 20 else 1 << 20)
        self.reader.count(len(chunk))
        return chunk


def main() -> None:
    name, entries, source_limit = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    reader = Reader(entries, source_limit)
    try:
        reader.archive(sys.stdin.buffer, name, [])
    except TooMuch as limit:
        say(note="%s: %s; the rest of it was not read" % (name, limit))
    say(entries=reader.examined)


if __name__ == "__main__":
    main()
