"""Reads the instructor's CSV files: a header, then a line for each student, or for each lab of a student.

A line names the student as it likes: by the name of the submission, or by the id of the platform. Which student that is, is
known only after the submissions were listed, so a Table is read first and bound to the students later.
"""
from __future__ import annotations

import csv
import io
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Set, Tuple

from ..labs import UserError
from ..results import plain

MAX_CELL = 1000  # characters
MAX_BYTES = 16 << 20  # of one file


def folded(text: str) -> str:
    """Returns a name in the form in which names are compared."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def first_of(words: Iterable[object], separator: str = ", ", most: int = 6) -> str:
    """Returns the first words as one text, with a sign if there are more. Names with a comma in them need another separator."""
    shown = list(map(str, words))
    return separator.join(shown[:most]) + (" …" if len(shown) > most else "")


def read_text(path: Path) -> str:
    """Reads a file that the instructor wrote. Raises UserError if it is not a file, too large, or not UTF-8."""
    try:
        if path.exists() and not path.is_file():
            raise UserError(plain(f"{path}: it is not a file", MAX_CELL))
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise UserError(plain(f"{path}: it has more than {MAX_BYTES >> 20} MiB", MAX_CELL))
        return content.decode("utf-8-sig")
    except OSError as error:
        raise UserError(plain(f"{path}: cannot be read: {error.strerror}", MAX_CELL)) from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(plain(f"{path}, line {line}: it is not UTF-8; save it as UTF-8", MAX_CELL)) from None
    except ValueError as error:  # a name with a null byte
        raise UserError(plain(f"{path}: cannot be read: {error}", MAX_CELL)) from None


@dataclass
class Row:
    """One line of a CSV file, by the names of its columns."""

    where: str  # "times.csv, line 3"
    cells: Dict[str, str]

    def wrong(self, column: str, why: str) -> UserError:
        return UserError(plain(f"{self.where}, {column}: {why}", MAX_CELL))


def read_rows(path: Path, needed: Sequence[str], optional: Sequence[str], others: bool = False) -> Iterator[Row]:
    """Reads a CSV file with these columns, in any order; `others` says whether it may have more.

    Raises UserError, with one line of text, for anything that is not such a file.
    """
    def wrong(why: str) -> UserError:
        return UserError(plain(f"{path}: {why}", MAX_CELL))

    columns = ", ".join([*needed, *(f"{name} (optional)" for name in optional)])
    text = read_text(path)
    first = text.split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=";" if ";" in first and "," not in first else ",")
    header: List[str] = []
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            where = f"{path}, line {reader.line_num}"
            if not header:
                header = [folded(cell).replace("e-mail", "email") for cell in cells]
                for name in needed:
                    if name not in header:
                        raise UserError(plain(f"{where}: there is no column '{name}'; the columns are {columns}", MAX_CELL))
                for name in header:
                    known = name in needed or name in optional
                    if not known and not others:
                        raise UserError(plain(f"{where}: the column '{name}' is unknown; the columns are {columns}", MAX_CELL))
                    if known and header.count(name) > 1:
                        raise UserError(plain(f"{where}: there are two columns '{name}'", MAX_CELL))
                continue
            if len(cells) > len(header):
                raise UserError(plain(f"{where}: {len(cells)} fields, but the header has {len(header)}; "
                                      "quote a field that has a comma in it", MAX_CELL))
            if max(map(len, cells)) > MAX_CELL:
                raise UserError(plain(f"{where}: a field has more than {MAX_CELL} characters", MAX_CELL))
            named = {**dict.fromkeys((*needed, *optional), ""), **dict(zip(header, cells))}
            yield Row(where, named)
    except csv.Error as error:
        raise wrong(f"line {reader.line_num}: {error}") from None
    if not header:
        raise wrong(f"is empty; its first line has the columns {columns}")


@dataclass
class Entry:
    """What a line says of a student: of one check, of one lab, or, with an empty lab, of all labs."""

    row: Row
    student: str  # as it is written
    lab: str = ""  # the lab's name
    check: str = ""
    value: float = 0.0
    reason: str = ""


class Table:
    """The entries of one file, or of one section of the course file. `source` is its name for people."""

    def __init__(self, source: str = "", entries: Sequence[Entry] = ()) -> None:
        self.source, self.entries = source, list(entries)
        self._bound: Dict[Tuple[str, str, str], Entry] = {}
        self._of_group: Dict[Tuple[str, str, str], Entry] = {}

    def bind(self, students: Mapping[str, Set[str]], groups: Mapping[str, Set[str]]) -> None:
        """Finds each entry's student. `students` has the directories of all that a name, folded, can mean; `groups` those of the
        members, by the group's name.

        Raises UserError if an entry means nobody, or one of several of the same name, or if two say something of the same.
        """
        self._bound.clear()
        self._of_group.clear()
        for entry in self.entries:
            word = folded(entry.student)
            found, bound = students.get(word, set()), self._bound
            if not found:
                found, bound = groups.get(word, set()), self._of_group
            if not found or (bound is self._bound and len(found) > 1):
                raise entry.row.wrong("student", f"'{entry.student}' is " + (
                    f"the name of {len(found)} students: write the id" if found else "unknown: allowed are the names and ids "
                    "of the submissions, of the roster and of the results of earlier runs"))
            for directory in found:
                first = bound.setdefault((directory, entry.lab, entry.check), entry)
                if first is not entry:
                    raise entry.row.wrong("student", f"'{entry.student}' has the same line twice; the first is {first.row.where}")

    def find(self, directory: str, lab: str, check: str = "") -> Optional[Entry]:
        """Returns what is said of a student's lab or check, else of all labs; first of the student, then of the group."""
        for bound in self._bound, self._of_group:
            found = bound.get((directory, lab, check)) or (None if check else bound.get((directory, "", "")))
            if found:
                return found
        return None
