"""Readers of what students' programs can write or hand in are given damaged input, each for some seconds: FULL=1.

The input is made from good input, because random bytes alone are refused at the first look.
"""
import io
import json
import os
import random
import struct
import tarfile
import time
import zipfile

import pytest

from shmlab import labs
from shmlab.course.archive_reader import ArchiveReader
from shmlab.course.course_file import read_course
from shmlab.sandbox import calls, kernel, tiers

SECONDS = 15.0
pytestmark = pytest.mark.full


def damaged(good, chance):
    """A copy with some bytes changed, a part left out, doubled, or put elsewhere."""
    raw = bytearray(good)
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        begin = chance.randrange(len(raw) + 1)
        end = min(len(raw), begin + chance.choice((1, 1, 4, 30, 500)))
        what = chance.randrange(5)
        if what == 0:
            raw[begin:end] = chance.randbytes(end - begin)
        elif what == 1:
            raw[begin:end] = bytes((chance.choice((0, 0xFF, 0x7F, 0x80)),)) * (end - begin)
        elif what == 2:
            del raw[begin:end]
        elif what == 3:
            raw[begin:begin] = raw[begin:end] * chance.choice((1, 2, 50))
        elif len(raw) >= 8:
            at = chance.randrange(len(raw) - 7)
            raw[at:at + 8] = struct.pack("<q", chance.choice((-1, 0, 1 << 62, -(1 << 63), 1 << 31, 7)))
    return bytes(raw)


def rounds(test):
    """Seeds until the time is over. One that fails can be run again: its number is in the message."""
    first, end = int(time.time()), time.monotonic() + SECONDS
    seed = first
    while time.monotonic() < end:
        try:
            test(random.Random(seed))
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
        seed += 1
    assert seed > first + 5


def test_the_ring(tmp_path):
    directory = os.open(tmp_path, os.O_RDONLY)
    ring = calls.Ring(directory, capacity=16)
    record = struct.Struct("<QQQiiHHiqQ5q48s")
    good = struct.pack("<QQQ104x", 16, 16, 0) + b"".join(
        record.pack(n + 1, n, n, 5, 5, n * 7, n % 32, n, n - 5, n * 100, n, 1 << 30, 3, 1 << 40, 1 << 30, b"/name\xff") for n in range(16))

    def test(chance):
        (tmp_path / "ring").write_bytes(damaged(good, chance))
        found, lost = ring.read()
        assert lost >= 0 and len(found) <= 16 and ring.injected >= 0
        assert all(str(call) and call.sizes is not None for call in found)

    rounds(test)
    ring.close()
    os.close(directory)


@pytest.mark.parametrize("parse, path", [
    (kernel.parse_maps, "/proc/self/maps"), (kernel.parse_segments, "/proc/sysvipc/shm"), (kernel.parse_ids, "/proc/sysvipc/sem"),
    (kernel.parse_status, "/proc/self/status"), (kernel.parse_resident, "/proc/self/statm")])
def test_what_the_kernel_says(parse, path):
    """A name in it can be chosen by a program; a line can be cut. A parser may refuse, with ValueError, and never does worse."""
    with open(path, "rb") as file:
        good = file.read() + b"7f00-7f01 rw-s 00000000 00:01 7 /memfd:a b (deleted)\n"

    def test(chance):
        try:
            parse(damaged(good, chance))
        except (ValueError, IndexError, KeyError):
            pass

    rounds(test)


def test_a_course_file(tmp_path):
    good = ("[course]\ntitle = A course\nlabs = 05 06\ncanvas = Lab #1 (4711)\ntime zone = Europe/Berlin\n"
            "[weights]\n05 = 2\n[due]\n05 = 2026-11-20 23:59\n"
            "[handed in]\nada = 2026-11-21 08:30\n").encode()

    def test(chance):
        path = tmp_path / "course.ini"
        path.write_bytes(damaged(good, chance))
        try:
            read_course(path)
        except labs.UserError as error:
            assert len(str(error).splitlines()) == 1, error

    rounds(test)


@pytest.mark.parametrize("key, good", [
    ("roster", "name,id,e-mail,group,section\nAda,1,a@x,Group A,S1\n\"Lovelace, Ben\",2,b@x,,\n"),
    ("times", "student,handed in,lab\nada,2026-11-20 23:59,05\n1,2026-11-20 23:59+01:00,\n"),
    ("overrides", "student;lab;check;points;reason\nada;05;;9.5;ill\nada;05;test_taken_key;0;copied\n"),
    ("extensions", "student,days,lab\nada,3,\nben,14,05\n")])
def test_the_tables_of_a_course(tmp_path, key, good):
    (tmp_path / "course.ini").write_text(f"[course]\n{key} = table.csv\n")

    def test(chance):
        (tmp_path / "table.csv").write_bytes(damaged(good.encode(), chance))
        try:
            read_course(tmp_path / "course.ini")
        except labs.UserError as error:
            assert len(str(error).splitlines()) == 1 and str(error).isprintable(), error

    rounds(test)


def good_archives():
    content = {"05_sysv_create/sysv_create.c": b"int main(void) { return 0; }\n" * 40, "notes.txt": b"x"}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in content.items():
            archive.writestr(name, text)
    yield "a.zip", packed.getvalue()
    for ending, mode in (("tar", "w"), ("tar.gz", "w:gz")):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode=mode) as archive:
            for name, text in content.items():
                member = tarfile.TarInfo(name)
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text))
        yield f"a.{ending}", packed.getvalue()


@pytest.mark.parametrize("name, good", good_archives(), ids=lambda value: value if isinstance(value, str) else "")
def test_an_archive(name, good, tmp_path):
    reader = ArchiveReader(tiers.choose_tier("auto"))

    def test(chance):
        (tmp_path / name).write_bytes(damaged(good, chance))
        found = reader.unpack(tmp_path / name, 100)
        assert found.sources or found.notes or found.entries >= 0
        json.dumps(found.notes)

    try:
        rounds(test)
    finally:
        reader.close()
