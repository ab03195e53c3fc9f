"""A course of 40 students as Canvas and as Moodle pack it, with all that instructors meet in a download.

    /usr/bin/python3 harness/tests/course/made_up_downloads.py DIRECTORY [LAB...]

writes canvas.zip, moodle.zip and the instructor's files for both, to try `make grade` on.
"""
from __future__ import annotations

import re
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Tuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sample_course import packed, tarred  # noqa: E402
from shmlab import gallery  # noqa: E402
from shmlab.labs import LABS, SOLUTIONS, Lab, find  # noqa: E402

Files = Dict[str, bytes]

NAMES = (
    "Lovelace, Ada", "Lovelace, Ada", "Turing, Alan", "Hopper, Grace", "O'Brien-Smith, Zoë", "van_der_Berg, Jan", "李, 小龍", "王, 小明",
    "Müller, Jürgen", "Ñandú, José María", "Лермонтов, Михаил", "الخيام, عمر", "Παπαδοπούλου, Ελένη", "Kim", "Dijkstra, Edsger W.",
    "Liskov, Barbara", "Knuth, Donald", "Hamilton, Margaret", "Ritchie, Dennis", "Thompson, Ken", "Perlman, Radia", "Allen, Fran",
    "Lamport, Leslie", "Keller, Ruth", "Meyer_Schmidt, Eva", "Nguyễn, Thị Minh", "Øster, Søren", "Şahin, İpek", "García Pérez, Ana",
    "McDonald, Ron", "de la Cruz, Inés", "Saint-Exupéry, Luc", "Late, Larry", "Again, Agnes", "Smith, 2nd", "Jr., Bob", "Null, Niki",
    "Text, Tina", "Empty, Emil", "Absent, Abe")


@dataclass
class Made:
    """A student, and what is right: which checks fail, for each lab that is found; words of a note."""

    name: str  # as in the roster
    number: int
    shape: str
    right: Dict[str, Tuple[str, ...]] = field(default_factory=dict)
    note: str = ""
    group: str = ""
    is_anonymous: bool = False

    @property
    def first_last(self) -> str:
        last, comma, first = self.name.partition(", ")
        return f"{first} {last}" if comma else self.name

    @property
    def login(self) -> str:
        return f"user{self.number:02}"


# ---- programs ---------------------------------------------------------------------------------------------


def _sources(directory: Path) -> Files:
    return {path.name: path.read_bytes() for path in sorted(directory.glob("*.[ch]"))}


def _patched(patch: gallery.Patch) -> Files:
    with tempfile.TemporaryDirectory() as scratch:
        return _sources(patch.apply(Path(scratch)) / patch.lab.name)


class Programs:
    """What students hand in of a lab: right programs, known mistakes, unfinished ones, in turn. `unique` makes all differ."""

    def __init__(self, labs: Sequence[Lab], most: int, unique: bool) -> None:
        self.labs, self.unique = labs, unique
        self.skeletons = {lab.name: _sources(LABS / lab.name) for lab in labs}
        self.solutions = {lab.name: _sources(SOLUTIONS / lab.name) for lab in labs}
        self._of: Dict[str, List[Tuple[Files, Tuple[str, ...]]]] = {}
        for lab in labs:
            mistakes = [one for one in gallery.mistakes() if one.lab == lab][:most]
            variants = [one for one in gallery.variants() if one.lab == lab][:most]
            self._of[lab.name] = [(self.solutions[lab.name], ()), (self.solutions[lab.name], ())]
            self._of[lab.name] += [(_patched(one), one.caught_by) for one in [*mistakes, *variants]]
            self._of[lab.name] += [(self.skeletons[lab.name], tuple(check.name for check in lab.checks()))]

    def of(self, number: int) -> Tuple[Dict[str, Files], Dict[str, Tuple[str, ...]]]:
        """Returns a student's programs, and which checks of each lab fail."""
        found, right = {}, {}
        for place, lab in enumerate(self.labs):
            kinds = self._of[lab.name]
            files, failing = kinds[(number * 3 + place) % len(kinds)]
            if self.unique and files != self.skeletons[lab.name]:
                files = {name: text + b"/* %d */\n" % number for name, text in files.items()}
            found[lab.name], right[lab.name] = files, failing
        return found, right


def tree(programs: Dict[str, Files], prefix: str = "labs/") -> Files:
    return {f"{prefix}{lab}/{name}": text for lab, files in programs.items() for name, text in files.items()}


def flat(programs: Dict[str, Files]) -> Files:
    return {name: text for files in programs.values() for name, text in files.items()}


# ---- shapes -----------------------------------------------------------------------------------------------


def _marked(name: str, mark: str) -> str:
    stem, dot, ending = name.rpartition(".")
    return f"{stem}{mark}{dot}{ending}"


def _versions(programs: Dict[str, Files], first: str, second: str, made: Programs) -> Files:
    """An unfinished archive and a later one."""
    return {first: packed(tree(made.skeletons)), second: packed(tree(programs))}


def _foreign(programs: Dict[str, Files]) -> Files:
    """The first lab's programs in the directory of the second, which is not handed in."""
    first, second, *others = programs
    return tree({second: programs[first], **{lab: programs[lab] for lab in others}})


#: How it is handed in, and words of the note on it. The last argument is the mark of what is handed in again.
Shape = Callable[[Dict[str, Files], Programs, str], Files]
SHAPES: Dict[str, Tuple[Shape, str]] = {
    "files": (lambda programs, made, mark: flat(programs), ""),
    "files again": (lambda programs, made, mark: {
        _marked(name, mark): text for name, text in flat(programs).items()}, ""),
    "zip": (lambda programs, made, mark: {"labs.zip": packed(tree(programs))}, ""),
    "zip of each lab": (lambda programs, made, mark: {f"lab{lab[:2]}.zip": packed(files) for lab, files in programs.items()},
                        "hand it in under that name"),
    "zip in zip": (lambda programs, made, mark: {"outer.zip": packed({"inner.zip": packed(tree(programs))})}, ""),
    "tar.gz": (lambda programs, made, mark: {"labs.tar.gz": tarred(tree(programs))}, ""),
    "tar.gz in zip": (lambda programs, made, mark: {"labs.zip": packed({"labs.tar.gz": tarred(tree(programs))})}, ""),
    "Mac": (lambda programs, made, mark: {"labs.zip": packed({**tree(programs), "labs/.DS_Store": b"\0\0\0\1Bud1", **{
        f"__MACOSX/{name}".replace("/labs/", "/labs/._"): b"\0\5\x16\7" for name in tree(programs)}})}, ""),
    "Windows": (lambda programs, made, mark: {"labs.zip": packed({
        name: b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n") for name, text in tree(programs).items()})}, ""),
    "UTF-16": (lambda programs, made, mark: {"labs.zip": packed({
        name: b"\xff\xfe" + text.decode().encode("utf-16-le") for name, text in tree(programs).items()})}, "UTF-16 text"),
    "other directories": (lambda programs, made, mark: {"labs.zip": packed({
        f"Lab {int(lab[:2])}/{name}": text for lab, files in programs.items() for name, text in files.items()})}, "was taken as"),
    "versions": (lambda programs, made, mark: _versions(programs, "labs_v1.zip", "labs_v2.zip", made), "versions of the same work"),
    "resubmitted": (lambda programs, made, mark: _versions(programs, "labs.zip", f"labs{mark}.zip", made), "versions of the same work"),
    "skeleton beside": (lambda programs, made, mark: {"labs.zip": packed({
        **tree(made.skeletons, "handed out/labs/"), **tree(made.solutions, "mine/")})}, "still as it was handed out"),
    "another lab's directory": (lambda programs, made, mark: {"labs.zip": packed(_foreign(programs))}, "has the name of another lab"),
    "renamed header": (lambda programs, made, mark: {
        _marked(name, "-2" if name.endswith(".h") else ""): text for name, text in flat(programs).items()}, ""),
    "7z": (lambda programs, made, mark: {"labs.7z": b"7z\xbc\xaf\x27\x1c\0\4" + bytes(64)}, "not read"),
    "rar": (lambda programs, made, mark: {"labs.rar": b"Rar!\x1a\x07\x01\0" + bytes(64)}, "not read"),
    "C++": (lambda programs, made, mark: {"labs.zip": packed({
        name.replace(".c", ".cpp"): text for name, text in tree(programs).items()})}, "is C++: hand in"),
    "a document": (lambda programs, made, mark: {"labs.zip": packed({
        name.replace(".c", ".docx"): b"PK\3\4" for name in tree(programs)})}, "is a document: hand in"),
    "empty": (lambda programs, made, mark: {"labs.zip": packed({})}, "no file "),
    "a part": (lambda programs, made, mark: {"labs.zip": packed(tree(dict(list(programs.items())[:1])))}, ""),
    "does not compile": (lambda programs, made, mark: {"labs.zip": packed({
        name: b"#error unfinished\n" + text for name, text in tree(programs).items()})}, ""),
    "text": (lambda programs, made, mark: {}, "only text typed on the platform"),
    "text and zip": (lambda programs, made, mark: {"labs.zip": packed(tree(programs))}, ""),
    "nothing": (lambda programs, made, mark: {}, ""),
}
NOTHING = ("7z", "rar", "C++", "a document", "empty", "text", "nothing")
ORDER = (
    "zip", "files", "files again", "zip", "zip of each lab", "zip in zip", "tar.gz", "tar.gz in zip", "Mac", "Windows", "UTF-16",
    "other directories", "versions", "resubmitted", "skeleton beside", "another lab's directory", "renamed header", "7z", "rar", "C++",
    "a document", "files", "a part", "does not compile", "zip", "files", "zip", "files", "zip", "zip", "zip", "zip", "zip", "files again",
    "zip", "files", "zip", "text", "empty", "nothing")


def students(labs: Sequence[Lab], most: int, unique: bool) -> Tuple[List[Made], List[Files]]:
    """Returns 40 students, and what each hands in. `most` is how many mistakes and variants of each lab there are."""
    made = Programs(labs, most, unique)
    people, handed_in = [], []
    for number, (name, shape) in enumerate(zip(NAMES, ORDER)):
        programs, right = made.of(number)
        one = Made(name, number, shape, right, note=SHAPES[shape][1])
        lab_names = list(right)
        if shape in NOTHING:
            one.right = {}
        elif shape == "a part":
            one.right = {lab_names[0]: right[lab_names[0]]}
        elif shape == "does not compile":
            one.right = {lab.name: tuple(check.name for check in lab.checks()) for lab in labs}
        elif shape == "another lab's directory":
            del one.right[lab_names[1]]
        elif shape == "skeleton beside":
            one.right = {lab: () for lab in right}
        one.is_anonymous = number in (24, 25)
        one.group = "Team_7" if number in (26, 27, 28) else "Team 8" if number in (29, 30) else ""
        people.append(one)
        handed_in.append(SHAPES[shape][0](programs, made, "-1"))
    return people, handed_in


# ---- downloads --------------------------------------------------------------------------------------------


def canvas_id(one: Made) -> str:
    return str(500 + one.number)


def moodle_id(one: Made) -> str:
    return str(20_000 + one.number)


def canvas(people: Sequence[Made], handed_in: Sequence[Files], late: Sequence[int]) -> Files:
    """The entries of a download from Canvas; who is in `late` has its mark."""
    entries: Files = {}
    for one, files in zip(people, handed_in):
        name = re.sub(r"\W", "", one.name.lower())
        mark = "LATE_" if one.number in late else ""
        start = f"{mark}anon_aB{one.number}z" if one.is_anonymous else f"{name}_{mark}{canvas_id(one)}"
        for place, (file, content) in enumerate(files.items()):
            entries[f"{start}_{9000 + 50 * one.number + place}_{file}"] = content
        if one.shape.startswith("text"):
            entries[f"{start}_text.html"] = b"<p>int main(void)</p>"
    return entries


def moodle(people: Sequence[Made], handed_in: Sequence[Files]) -> Files:
    """The entries of a download from Moodle. In a group's assignment each member's directory begins with the group."""
    entries: Files = {}
    for one, files in zip(people, handed_in):
        name = "Participant" if one.is_anonymous else f"{one.group}-{one.first_last}" if one.group else one.first_last
        start = f"{name.replace('_', ' ')}_{moodle_id(one)}_assignsubmission"
        for file, content in files.items():
            entries[f"{start}_file_/{file}"] = content
        if one.shape.startswith("text"):
            entries[f"{start}_onlinetext_/onlinetext.html"] = b"<p>int main(void)</p>"
    return entries


def roster(people: Sequence[Made], id_of: Callable[[Made], str], ids: Sequence[int]) -> str:
    """The instructor's list: only some lines have the platform's id, and half of the names begin with the first name."""
    lines = ["name,id,email,login,group,section"]
    for one in people:
        if not one.is_anonymous:
            name = one.name if one.number % 2 else one.first_last
            lines.append(f'"{name}",{id_of(one) if one.number in ids else ""},{one.login}@example.org,{one.login},{one.group},'
                         f'{"AB"[one.number % 2]}')
    return "\n".join(lines) + "\n"


def download(entries: Files, backwards: bool = False) -> bytes:
    """The archive that the platform makes; `backwards`, with its entries in the other order."""
    return packed(dict(reversed(list(entries.items())) if backwards else entries))


def main(words: List[str]) -> Optional[str]:
    if not words:
        return __doc__
    target = Path(words[0])
    target.mkdir(parents=True, exist_ok=True)
    people, handed_in = students([find(word) for word in words[1:] or ("01", "05", "11")], 100, True)
    for name, entries, id_of in ("canvas", canvas(people, handed_in, (32,)), canvas_id), ("moodle", moodle(people, handed_in), moodle_id):
        (target / f"{name}.zip").write_bytes(download(entries))
        (target / f"{name}-roster.csv").write_text(roster(people, id_of, (0, 1)), encoding="utf-8")
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
