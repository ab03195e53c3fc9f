"""A sample course: solutions, skeletons, every known mistake, half-finished work, unusual layouts, hostile programs.

    /usr/bin/python3 harness/tests/course/sample_course.py DIRECTORY [SHARE]

writes it, to try `make grade` on. With SHARE it writes one student in that many.
"""
from __future__ import annotations

import io
import shutil
import sys
import tarfile
import tempfile
import zipfile
from collections import Counter
from pathlib import Path
from typing import Dict, List, Set, Tuple, Union

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from shmlab import gallery, labs  # noqa: E402
from shmlab.labs import LABS, SOLUTIONS, all_labs  # noqa: E402

STUDENTS = 96

#: The right outcome of a student's lab: the checks that must fail; or the points, if only these are known.
Expected = Dict[str, Dict[str, Union[Set[str], int]]]


def packed(members: Dict[str, Union[str, bytes]]) -> bytes:
    """Returns a .zip with these contents, by name."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return content.getvalue()


def tarred(members: Dict[str, bytes]) -> bytes:
    """Returns a .tar.gz with these contents, by name."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, text in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
    return content.getvalue()


def _copy(source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    for path in source.glob("*.[ch]"):
        shutil.copyfile(path, target / path.name)


def _patched(patch: gallery.Patch, target: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        _copy(patch.apply(Path(scratch)) / patch.lab.name, target)


def _most(things: List) -> int:
    """Returns how many students are needed if each hands in one program per lab."""
    return max(Counter(thing.lab.number for thing in things).values())


def _spread(things: List, names: List[str]) -> Dict[str, List]:
    """Distributes patches among students so that no student gets two of the same lab."""
    found: Dict[str, List] = {name: [] for name in names}
    for thing in things:
        free = [name for name in names if all(thing.lab != other.lab for other in found[name])]
        found[min(free, key=lambda name: len(found[name]))].append(thing)
    return found


def build(directory: Path, share: int = 1) -> Tuple[Expected, List[gallery.Patch]]:
    """Writes each `share`-th submission. Returns the right outcome of each, and the mistakes among them."""
    every = {lab.name: {check.name for check in lab.checks()} for lab in all_labs()}
    expected: Expected = {}

    def student(name: str) -> Path:
        expected[name] = {}
        return directory / name

    for name, source in ("right-1", SOLUTIONS), ("right-2", SOLUTIONS), ("unchanged", LABS):
        where = student(name)
        for lab in all_labs():
            _copy(source / lab.name, where / "labs" / lab.name)
            expected[name][lab.name] = set() if source == SOLUTIONS else every[lab.name]
    for number in range(4):
        name, half = f"half-{number}", list(all_labs())[number * 4:number * 4 + 4]
        where = student(name)
        for lab in half:
            _copy((SOLUTIONS if lab in half[:2] else LABS) / lab.name, where / "labs" / lab.name)
            expected[name][lab.name] = set() if lab in half[:2] else every[lab.name]
    # A third of them; test_hostile.py runs all and compares their messages.
    hostile = _spread(gallery.hostile()[::3], [f"hostile-{number:02}" for number in range(16)])
    for name, attacks in hostile.items():
        where = student(name)
        for attack in attacks:
            with tempfile.TemporaryDirectory() as scratch:
                _copy(attack.apply(Path(scratch)) / "labs" / attack.lab.name, where / "labs" / attack.lab.name)
            expected[name][attack.lab.name] = attack.score
    shaped = _shapes(directory, expected)
    variants = _spread(gallery.variants(), [f"variant-{number}" for number in range(_most(gallery.variants()))])
    wrong = STUDENTS - len(expected) - len(variants)
    assert wrong >= _most(gallery.mistakes()), "STUDENTS is too small for the lab with the most mistakes"
    mistakes = _spread(gallery.mistakes(), [f"mistake-{number:02}" for number in range(wrong)])
    for name, patches in {**variants, **mistakes}.items():
        where = student(name)
        for patch in patches:
            _patched(patch, where / "labs" / patch.lab.name)
            expected[name][patch.lab.name] = set(patch.caught_by)
    for number, name in enumerate(sorted(expected)):
        if number % share:
            del expected[name]
            for path in directory.glob(shaped.get(name, name)):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    return expected, [mistake for name in mistakes.keys() & expected.keys() for mistake in mistakes[name]]


def _shapes(directory: Path, expected: Expected) -> Dict[str, str]:
    """Writes submissions in unusual layouts. Returns the file names of those that are archives."""
    source = {name: (SOLUTIONS / name / f"{name[3:]}.c").read_bytes() for name in ("05_sysv_create", "08_posix_create")}
    with zipfile.ZipFile(directory / "zipped.zip", "w") as archive:
        for name, content in source.items():
            archive.writestr(f"homework/labs/{name}/{name[3:]}.c", content)
    with tarfile.open(directory / "tarred.tar.gz", "w:gz") as tar:
        for name, content in source.items():
            info = tarfile.TarInfo(f"{name}/{name[3:]}.c")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    changes = {"windows": lambda text: b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"), "misnamed": lambda text: text}
    for student, change in changes.items():
        for name, content in source.items():
            path = directory / student / (f"Lab{int(name[:2])}" if student == "misnamed" else name) / f"{name[3:]}.c"
            path.parent.mkdir(parents=True)
            path.write_bytes(change(content))
    for student in "zipped", "tarred", "windows", "misnamed":
        expected[student] = {name: set() for name in source}
    (directory / "nothing").mkdir()
    (directory / "nothing" / "essay.txt").write_text("What I think of shared memory\n")
    expected["nothing"] = {}
    binary = directory / "binary" / "05_sysv_create" / "sysv_create.c"
    binary.parent.mkdir(parents=True)
    binary.write_bytes(b"\x7fELF\0\0")
    expected["binary"] = {"05_sysv_create": {check.name for check in labs.find("05").checks()}}
    return {"zipped": "zipped.zip", "tarred": "tarred.tar.gz"}


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True)
    made, _ = build(target, int(sys.argv[2]) if sys.argv[2:] else 1)
    print(f"{len(made)} submissions, {sum(map(len, made.values()))} labs")
