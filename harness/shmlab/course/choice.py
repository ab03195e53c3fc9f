"""Chooses which of a submission's files are a lab's programs and headers, and says why, and what is missing.

Of several versions the newest counts as a whole, and a finished program counts before one that is still as it was handed out.
"""
from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Callable, Dict, FrozenSet, Iterable, List, Optional, Set, Tuple

from ..labs import Lab, all_labs
from ..results import plain
from ..sandbox.build import SOURCE_LIMIT
from .tables import first_of
from .unpack import ARCHIVES, UNREAD, is_source, without_suffix

MAX_SOURCES = 64  # copied for one lab
MAX_MARKS = 4  # such as "_final (1)", at the end of a name
MAX_NAME = 100  # bytes of the name of a file that is copied


@dataclass(eq=False)
class SourceFile:
    """A file in a submission. `read` returns its bytes, at most SOURCE_LIMIT + 1; `renamed` tells that Canvas added "-1" to its name."""

    path: PurePosixPath
    size: int
    time: float
    read: Callable[[], bytes]
    renamed: bool = False

    @property
    def name(self) -> str:
        """The name that the student gave it."""
        return re.sub(r"-\d{1,9}(?=\.\w+$)", "", self.path.name) if self.renamed else self.path.name

    @functools.cached_property
    def words(self) -> bytes:
        """Its text without white space, to compare it with what was handed out."""
        try:
            return b" ".join((_text(self.read()) or b"").split())
        except OSError:
            return b""


# ---- versions ---------------------------------------------------------------------------------------------

_DATES = (re.compile(r"(?<!\d)(?P<y>20\d\d)([-_.]?)(?P<m>[01]\d)\2(?P<d>[0-3]\d)(?:[-_ .T]{0,2}(?P<t>[0-2]\d[-_.:h]?[0-5]\d))?(?!\d)"),
          re.compile(r"(?<!\d)(?P<d>[0-3]?\d)\.(?P<m>[01]?\d)\.(?P<y>20\d\d)(?!\d)"))
_MARK = re.compile(r"[ _-]{0,4}(\((?P<bracket>\d{1,9})\)|v(ersion)?[ _.-]?(?P<v>\d{1,9})|(?<=[ _-])(?P<n>0|[1-9]\d{0,8})"
                   r"|(?P<word>copy|final|new|old|backup|bak))$", re.I)


@dataclass(frozen=True, order=True)
class Version:
    """What a name tells of its version. A later version is greater."""

    is_not_old: bool = True
    numbers: Tuple[int, ...] = ()
    date: str = ""


@functools.lru_cache(maxsize=16384)
def version_of(stem: str) -> Tuple[str, Version, int]:
    """Returns a name without the marks of its version, the version, and 1 for a word such as "final", -1 for "copy", else 0."""
    numbers: Tuple[int, ...] = ()
    date, word, is_old = "", 0, False
    for pattern in _DATES:
        match = pattern.search(stem)
        if match:
            found = match.groupdict()
            date = f"{found['y']}-{int(found['m']):02}-{int(found['d']):02} {re.sub('[^0-9]', '', found.get('t') or '')}"
            stem = stem[:match.start()].rstrip(" _-.") + stem[match.end():]
            break
    for _ in range(MAX_MARKS):
        match = _MARK.search(stem)
        if not match or not match.start():
            break
        stem = stem[:match.start()]
        if match["word"]:
            is_old = is_old or match["word"].lower() in ("old", "backup", "bak")
            word = -1 if match["word"].lower() == "copy" else 1
        else:
            numbers = (int(match["bracket"] or match["v"] or match["n"]), *numbers)
    return stem, Version(not is_old, numbers, date), word


@dataclass
class Versions:
    """A submission's files without those of older versions, which are in `older`, the newest first."""

    files: List[SourceFile]
    older: List[List[SourceFile]] = field(default_factory=list)


def newest(files: List[SourceFile], notes: List[str]) -> Versions:
    """Finds directories and archives that are versions of each other: their names differ in the version only, and they hold a program
    of the same name."""
    programs = {_squeezed(program) for lab in all_labs() for program in lab.programs}
    groups: Dict[Tuple[PurePosixPath, str], Dict[PurePosixPath, List[SourceFile]]] = {}
    for found in files:
        for container in found.path.parents:
            base = _squeezed(version_of(without_suffix(container.name))[0])
            if base:
                groups.setdefault((container.parent, base), {}).setdefault(container, []).append(found)
    dropped: Dict[PurePosixPath, List[SourceFile]] = {}
    for group in sorted(groups.values(), key=lambda group: len(next(iter(group)).parts)):
        held, ranks = {}, {}
        for container, inside in group.items() if len(group) > 1 else []:
            bases = {_squeezed(version_of(found.path.stem)[0]) for found in inside if found.path.suffix.lower() == ".c"}
            if bases & programs and not any(one in dropped for one in container.parents):
                _, version, word = version_of(without_suffix(container.name))
                held[container] = bases & programs
                ranks[container] = (version, max(found.time for found in inside), word, container.name)
        newer: List[PurePosixPath] = []
        for container in sorted(ranks, key=lambda one: ranks[one], reverse=True):
            is_archive = container.name.lower().endswith(ARCHIVES)
            later = next((one for one in newer if held[one] & held[container] and (
                ranks[one][0::2] != ranks[container][0::2] or (is_archive and one.name.lower().endswith(ARCHIVES)))), None)
            if later is None:
                newer.append(container)
            else:
                dropped[container] = group[container]
                notes.append(f"{later} and {container} are versions of the same work: {later} was graded, not {container}")
    kept = [found for found in files if not any(one in dropped for one in found.path.parents)]
    return Versions(kept, list(dropped.values()))


# ---- names ------------------------------------------------------------------------------------------------


def _squeezed(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


@functools.lru_cache(maxsize=None)
def _other_names() -> Dict[str, str]:
    """Returns what directories of labs are called as well, and the name of the lab."""
    names = {}
    for lab in all_labs():
        number, title = lab.number.lstrip("0"), _squeezed(lab.name[3:])
        names.update({f"{start}{middle}{end}": lab.name for start in ("", "lab") for middle in (lab.number, number) for end in ("", title)})
        names[title] = lab.name
    return names


@functools.lru_cache(maxsize=16384)
def _lab_of_directory(part: str) -> Tuple[Optional[str], bool]:
    """Returns the name of the lab that a directory or an archive names, if any, and whether exactly."""
    if part in [lab.name for lab in all_labs()]:
        return part, True
    return _other_names().get(_squeezed(without_suffix(part))), False


def directory_match(lab: Lab, path: PurePosixPath) -> int:
    """Returns how well a file's directories match a lab: 3 exactly, 2 by a guess, 1 if none names a lab, 0 if they name
    another lab."""
    for part in reversed(path.parts[:-1]):
        named, exactly = _lab_of_directory(part)
        if named:
            return (3 if exactly else 2) if named == lab.name else 0
    return 1


def _file_match(wanted: str, name: str) -> int:
    """Returns how well a file's name matches the wanted one: 3 exactly, 2 by a guess, 0 not at all."""
    if name == wanted:
        return 3
    # "Sysv_Create.c", "sysv_create (1).c", "sysv_create-2.c", "sysv_create_final.c", "sysv_create.c.txt"
    stem, _, kind = wanted.rpartition(".")
    match = re.fullmatch(rf"(.+)\.{kind}(\.txt)?", name, re.I | re.S)
    if not match:
        return 0
    base = version_of(match[1])[0]
    return 2 if _squeezed(stem) in (_squeezed(base), _squeezed(re.sub(r"\d{1,9}$", "", base))) else 0


# ---- contents ---------------------------------------------------------------------------------------------


def _text(content: bytes) -> Optional[bytes]:
    """Returns the UTF-8 text of a source file; None if it is not text."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", "replace").encode("utf-8")
    for order, zeros in ("utf-16-le", content[1::2]), ("utf-16-be", content[0::2]):
        if len(content) > 1 and len(content) % 2 == 0 and zeros.count(0) * 4 > len(zeros) * 3:
            decoded = content.decode(order, "replace")
            if "\0" not in decoded:
                return decoded.encode("utf-8")
    if content.startswith(b"\x7fELF") or b"\0" in content:
        return None
    return content


def _content(found: SourceFile, name: str, notes: List[str]) -> Optional[bytes]:
    """Returns the text to compile; None, with a note, if the file is not C source."""
    try:
        content = found.read()
    except OSError as error:
        notes.append(f"{found.path} cannot be read: {error.strerror}")
        return None
    if max(len(content), found.size) > SOURCE_LIMIT:
        notes.append(f"{found.path} has {found.size >> 20} MiB: a C source of this lab needs a few kilobytes")
        return None
    text = _text(content)
    if text is None:
        notes.append(f"{found.path} is a binary file: hand in the C source {name}")
    elif text != content:
        notes.append(f"{found.path} is UTF-16 text: converted; save {name} as UTF-8")
    elif not text.strip():
        notes.append(f"{found.path} is empty")
    elif b"\r" in text and b"\n" not in text:
        notes.append(f"{found.path} ends its lines with carriage returns, as old Macs did: read as line feeds; save {name} with line feeds")
        return text.replace(b"\r", b"\n")
    return text


@functools.lru_cache(maxsize=None)
def _handed_out(lab: Lab, program: str) -> bytes:
    path = lab.directory / f"{program}.c"
    return b" ".join(path.read_bytes().split()) if path.is_file() else b""


def _is_untouched(lab: Lab, program: str, found: SourceFile) -> bool:
    """Whether a file is still as it was handed out, up to white space."""
    return found.size <= SOURCE_LIMIT and bool(_handed_out(lab, program)) and found.words == _handed_out(lab, program)


# ---- the choice -------------------------------------------------------------------------------------------


@dataclass
class Choice:
    """A lab's files: the text of each, which of them are programs, and notes."""

    contents: Dict[str, bytes] = field(default_factory=dict)
    programs: Dict[str, SourceFile] = field(default_factory=dict)
    notes: List[str] = field(default_factory=list)


def _foreign(lab: Lab, name: str) -> Optional[Lab]:
    """Returns the other lab whose program has this name, if any."""
    return next((other for other in all_labs() if other != lab and any(name == f"{program}.c" for program in other.programs)), None)


def _program(lab: Lab, program: str, files: Iterable[SourceFile], notes: List[str]) -> Optional[SourceFile]:
    """Returns the file to grade as one of a lab's programs, or None."""
    wanted = f"{program}.c"
    same_place: Dict[PurePosixPath, List[SourceFile]] = {}
    for found in files:
        match = _file_match(wanted, found.name)
        # In the directory of another lab nothing but the very name counts.
        if match == 3 or (match and directory_match(lab, found.path)):
            same_place.setdefault(found.path.parent, []).append(found)
    candidates = []
    passed: List[SourceFile] = []  # older versions in the same directory
    for group in same_place.values():
        group.sort(key=lambda found: (not _is_untouched(lab, program, found), version_of(found.path.stem)[1],
                                      _file_match(wanted, found.name), found.path.name), reverse=True)
        best = group[0]
        passed += group[1:]
        # In a copy of the whole project the student's programs are those in labs/.
        candidates.append((("solutions" in best.path.parts, _is_untouched(lab, program, best), -directory_match(lab, best.path),
                            -_file_match(wanted, best.name)), (len(best.path.parts), str(best.path)), best))
    if not candidates and len(lab.programs) == 1:
        # The lab has one program and the directory one source: take it whatever its name is.
        own = [found for found in files if directory_match(lab, found.path) >= 2 and found.path.suffix.lower() == ".c"]
        if len(own) == 1 and not _foreign(lab, own[0].name):
            candidates = [((False, False, -2, -1), (0, ""), own[0])]
    if not candidates:
        return None
    candidates.sort(key=lambda candidate: candidate[:2])
    key, _, best = candidates[0]
    if best.name != wanted:
        notes.append(f"{best.path} was taken as {wanted}: hand it in under that name")
    elif not directory_match(lab, best.path):
        notes.append(f"{best.path} was taken as {wanted} of {lab.name}, although its directory has the name of another lab")
    # A skeleton that would have been graded, had its author not finished another file.
    untouched = [found for one, _, found in candidates[1:] if one[1] and not key[1] and one[2:] <= key[2:]]
    untouched += [found for found in passed if found.path.parent == best.path.parent and _is_untouched(lab, program, found) and not key[1]]
    # In a copy of the whole project nothing in solutions/ is the student's, but it may be the name of the student's own directory.
    others = [found for one, _, found in candidates[1:] if not one[1] and (not one[0] or key[1])] + \
        [found for found in passed if found.path.parent == best.path.parent and found not in untouched]
    if untouched:
        notes.append(f"{first_of((found.path for found in untouched), most=3)} is still as it was handed out: {best.path} was graded")
    others = [other for other in others if other.words != best.words]
    if others:
        notes.append(f"{wanted} exists more than once: {best.path} was graded, not {first_of((found.path for found in others), most=3)}")
    return best


_FREESTANDING = frozenset(("float.h", "iso646.h", "limits.h", "stdalign.h", "stdarg.h", "stdatomic.h", "stdbool.h", "stddef.h", "stdint.h",
                           "stdnoreturn.h"))


@functools.lru_cache(maxsize=1024)
def _is_of_system(name: str) -> bool:
    """Whether a header is one of the machine's. A student has written the name: it must not lead out of the machine's headers."""
    directories = [Path("/usr/include"), *Path("/usr/include").glob("*-linux-*")]
    is_plain = bool(re.fullmatch(r"(\w[\w.+-]*/)*\w[\w.+-]*", name, re.A))
    return name in _FREESTANDING or is_plain and any(os.path.isfile(directory / name) for directory in directories)


def _included(contents: Iterable[bytes]) -> List[str]:
    """Returns the names in quotes that the sources include."""
    names: Dict[str, None] = {}
    for content in contents:
        code = re.sub(rb"/\*.*?\*/", b" ", content, flags=re.S)
        for match in re.finditer(rb'^[ \t]*#[ \t]*include[ \t]*"([^"\n]{1,100})"', code, re.M):
            names[match[1].decode("utf-8", "backslashreplace")] = None
    return list(names)[:MAX_SOURCES]


def _headers(lab: Lab, choice: Choice, files: List[SourceFile]) -> List[str]:
    """Adds the headers that the sources include and that have another name or are elsewhere. Returns the names of those missing."""
    beside = {found.path.parent for found in choice.programs.values()}
    missing: List[str] = []
    looked_for: Set[str] = set()
    while True:
        names = [name for name in _included(choice.contents.values()) if name not in choice.contents and name not in looked_for]
        if not names or len(choice.contents) >= MAX_SOURCES:
            return missing
        looked_for.update(names)
        for wanted in names:
            if not re.fullmatch(r"\w[\w.+-]*\.[ch]", wanted, re.A):  # It is in another directory.
                tail = tuple(part for part in PurePosixPath(wanted).parts if part != "..")
                elsewhere = next((one for one in files if tail and one.path.parts[-len(tail):] == tail), None)
                if elsewhere:
                    choice.notes.append(f"{elsewhere.path} was not taken: hand it in beside the programs, and include it as that")
                elif not _is_of_system(wanted):
                    missing.append(wanted)
                continue
            found = sorted((one for one in files if directory_match(lab, one.path) and _file_match(wanted, one.name)),
                           key=lambda one: (one.path.parent not in beside, -directory_match(lab, one.path), -_file_match(wanted, one.name),
                                            len(one.path.parts), str(one.path)))
            content = _content(found[0], wanted, choice.notes) if found else None
            if content is not None:
                choice.contents.pop(found[0].name, None)
                choice.contents[wanted] = content
                choice.notes.append(f"{found[0].path} was taken as {wanted}: hand it in " + (
                    "beside the programs" if found[0].name == wanted else "under that name"))
            elif not _is_of_system(wanted):
                missing.append(wanted)


_KINDS = {".cpp": "C++", ".cc": "C++", ".cxx": "C++", ".c++": "C++", ".hpp": "C++", ".txt": "a text file", ".doc": "a document",
          ".docx": "a document", ".odt": "a document", ".rtf": "a document", ".pdf": "a document", ".o": "compiled", ".exe": "compiled",
          ".out": "compiled"}


def _instead(lab: Lab, program: str, files: List[SourceFile]) -> List[str]:
    """Says which files were handed in where a program is missing."""
    notes = []
    for found in files:
        kind = _KINDS.get(found.path.suffix.lower())
        stem = re.sub(r"\.c$", "", found.path.stem, flags=re.I)
        if kind and directory_match(lab, found.path) and _file_match(f"{program}.c", f"{stem}.c"):
            notes.append(f"{found.path} is {kind}: hand in {program}.c")
        other = _foreign(lab, found.name) if directory_match(lab, found.path) >= 2 else None
        if other:
            notes.append(f"{found.path} is a program of {other.name}")
    return notes[:3]


def unread(path: PurePosixPath) -> Optional[str]:
    """Returns a note on a file that is packed in a form that is not read; None for any other file."""
    if not path.name.lower().endswith(UNREAD):
        return None
    what = "a git bundle, which" if path.suffix.lower() == ".bundle" else "packed in a form that"
    return f"{path} is {what} is not read: hand in the files, or a .zip or .tar.gz of them"


def choose(lab: Lab, versions: Versions) -> Choice:
    """Chooses a lab's files. A lab of which there is no program has notes only if something of it was handed in."""
    choice = _choose(lab, versions.files)
    if choice.programs and all(_is_untouched(lab, program, found) for program, found in choice.programs.items()):
        for older in versions.older:
            other = _choose(lab, older)
            finished = [found for program, found in other.programs.items() if not _is_untouched(lab, program, found)]
            if finished:
                untouched = next(iter(choice.programs.values()))
                other.notes.append(f"{untouched.path} is still as it was handed out: {finished[0].path} was graded, though it is older")
                return other
    return choice


def _choose(lab: Lab, files: List[SourceFile]) -> Choice:
    choice = Choice()
    notes = choice.notes
    sources = [found for found in files if is_source(found.path.name)]
    for program in lab.programs:
        best = _program(lab, program, sources, notes)
        if best:
            choice.programs[program] = best
    used: FrozenSet[SourceFile] = frozenset(choice.programs.values())
    beside = {found.path.parent for found in used}
    others = [found for found in sources if found.path.parent in beside and found not in used
              and (directory_match(lab, found.path) >= 2 or found.name.endswith(".h"))
              and re.search(r"\.[ch]$", found.name)][: MAX_SOURCES - len(used)]
    others.sort(key=lambda found: version_of(found.path.stem)[1])  # the newest of one name is the last
    for name, found in [(f"{program}.c", found) for program, found in choice.programs.items()] + \
            [(found.name, found) for found in others if not any(_file_match(f"{program}.c", found.name) for program in lab.programs)]:
        if len(os.fsencode(name)) > MAX_NAME:
            notes.append(f"{plain(name, 40)} has a name of more than {MAX_NAME} bytes: left out")
            continue
        content = _content(found, name, notes)
        if content is not None:
            choice.contents[name] = content
    absent = [program for program in lab.programs if program not in choice.programs]
    missing = [f"{program}.c" for program in absent]
    if used:
        missing += _headers(lab, choice, sources)
    if missing and (used or any(directory_match(lab, found.path) >= 2 for found in files)):
        notes.append(f"missing: {' and '.join(missing)}")
    for program in absent:
        notes += _instead(lab, program, files)
    guessed = sorted({str(found.path.parent) for found in used if directory_match(lab, found.path) == 2})
    if guessed:
        notes.append(f"the directory {guessed[0]} was taken as {lab.name}: hand it in under that name")
    return choice
