"""The command line `python3 -m shmlab COMMAND`, to which the Makefile's targets other than `make check` lead."""
from __future__ import annotations

import sys

if sys.argv[1:2] == ["ls"]:  # before the rest is imported, which takes longer than a look at the machine
    from .observe import command

    sys.exit(command.main(sys.argv[2:]))

import argparse  # noqa: E402
import os  # noqa: E402
from pathlib import Path  # noqa: E402

from . import student  # noqa: E402
from .labs import LABS, Lab, UserError, find  # noqa: E402
from .sandbox import apparmor, native  # noqa: E402


def _lab_named(word: str) -> Lab:
    if not word:
        raise UserError("say which lab: LAB=05")
    return find(word)


def _grade(arguments: argparse.Namespace) -> int:
    from .course import grade, slices  # imported here because it needs Jinja2, which students need not have
    from .judging import parallel

    if arguments.command == "merge":
        return grade.merge(arguments.source, Path(arguments.out), Path(arguments.course) if arguments.course else None,
                           parallel.number_of_jobs(arguments.jobs), arguments.partial)
    if not arguments.source:
        raise UserError("say where the submissions are: make grade FROM=submissions OUT=results")
    jobs = parallel.number_of_jobs(arguments.jobs)
    native.find_compiler(arguments.cc)
    labs = [word for item in arguments.lab for word in item.replace(",", " ").split()]
    course_file = Path(arguments.course) if arguments.course else None
    return grade.main(Path(arguments.source), Path(arguments.out), course_file, labs, arguments.cc, arguments.san, jobs,
                      arguments.tier, arguments.trust, arguments.student, arguments.regrade,
                      slices.parse(arguments.slice) if arguments.slice else None)


def _collect(arguments: argparse.Namespace) -> int:
    from .course import collect
    from .judging import parallel

    if not (arguments.repos and arguments.by and arguments.out):
        raise UserError("say which repositories, until when, and where to: make collect REPOS=list.csv BY='2026-11-20 23:59' OUT=handed-in")
    return collect.main(Path(arguments.repos), arguments.by, Path(arguments.out), parallel.number_of_jobs(arguments.jobs))


def _of_results(arguments: argparse.Namespace) -> int:
    from .course import feedback, similar

    if arguments.command == "similar":
        return similar.export(Path(arguments.source), Path(arguments.out))
    return feedback.main(Path(arguments.source), Path(arguments.out), arguments.anonymous)


def _pack(arguments: argparse.Namespace) -> int:
    from . import dist

    out = Path(arguments.out) if arguments.out else native.build_directory()
    if arguments.command == "dist":
        path = dist.make_dist(out)
    else:
        labs = [find(word).number for word in arguments.lab.replace(",", " ").split()]
        path = dist.make_gradescope(out, Path(arguments.course) if arguments.course else None, labs)
    print(f"{os.path.relpath(path)}: {path.stat().st_size / 1024:.0f} KiB, with peers for {'; '.join(dist.peers())}")
    return 0


def main() -> int:
    """Runs the command that the arguments name. Returns the exit status; 2 for a UserError, which it prints."""
    parser = argparse.ArgumentParser(prog="shmlab")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("ls", add_help=False)  # for the list of commands: see the top
    for name in ("watch", "hint"):
        sub = commands.add_parser(name)
        sub.add_argument("--lab", default="")
        if name == "watch":
            sub.add_argument("--in", dest="directory", default=str(LABS))
            sub.add_argument("options", nargs="*")
        else:
            sub.add_argument("--back", action="store_true")
    sub = commands.add_parser("trace")
    for name in ("lab", "check", "schedule", "tier"):
        sub.add_argument(f"--{name}", default="")
    sub.add_argument("--in", dest="directory", default=str(LABS))
    sub.add_argument("--cc", default="cc")
    sub.add_argument("--text", action="store_true")
    sub = commands.add_parser("race")
    for name in ("lab", "tier"):
        sub.add_argument(f"--{name}", default="")
    sub.add_argument("--in", dest="directory", default=str(LABS))
    sub.add_argument("--cc", default="cc")
    sub = commands.add_parser("grade")
    sub.add_argument("--from", dest="source", required=True)
    sub.add_argument("--out", default="results")
    sub.add_argument("--course")
    sub.add_argument("--lab", action="append", default=[])
    sub.add_argument("--student", action="append", default=[])
    sub.add_argument("--regrade", default="")
    sub.add_argument("--slice", default="")
    sub.add_argument("--cc", default="cc")
    sub.add_argument("--san", action="store_true")
    sub.add_argument("--tier")
    sub.add_argument("--jobs", default="")
    sub.add_argument("--trust", action="store_true")
    for name in ("similar", "feedback"):
        sub = commands.add_parser(name)
        sub.add_argument("--from", dest="source", required=True)
        sub.add_argument("--out", required=True)
    sub.add_argument("--anonymous", action="store_true")
    sub = commands.add_parser("collect")
    for name in ("repos", "by", "out", "jobs"):
        sub.add_argument(f"--{name}", default="")
    sub = commands.add_parser("merge")
    sub.add_argument("--from", dest="source", required=True)
    sub.add_argument("--out", default="results")
    sub.add_argument("--course")
    sub.add_argument("--jobs", default="")
    sub.add_argument("--partial", action="store_true")
    commands.add_parser("dist").add_argument("--out", default="")
    sub = commands.add_parser("gradescope")
    sub.add_argument("--out", default="")
    sub.add_argument("--course")
    sub.add_argument("--lab", default="")
    for name in ("doctor", "box", "unbox"):
        commands.add_parser(name)
    commands.add_parser("clean-ipc")
    commands.add_parser("bench")
    commands.add_parser("speed")
    commands.add_parser("docs").add_argument("--instructor", action="store_true")
    arguments = parser.parse_args()
    try:
        if arguments.command == "watch":
            lab = _lab_named(arguments.lab)
            options = [word for word in arguments.options if word not in ("--lab", arguments.lab)]
            return student.watch(lab, Path(arguments.directory).resolve(), options)
        if arguments.command == "hint":
            return student.hint(_lab_named(arguments.lab), arguments.back)
        if arguments.command == "trace":
            from .trace import command as trace

            return trace.main(_lab_named(arguments.lab), Path(arguments.directory).resolve(), arguments.check, arguments.schedule,
                              arguments.tier, arguments.cc, arguments.text)
        if arguments.command == "race":
            from .race import command as race

            return race.main(_lab_named(arguments.lab or race.LAB), Path(arguments.directory).resolve(), arguments.tier, arguments.cc)
        if arguments.command == "bench":
            from . import bench

            return bench.main()
        if arguments.command == "speed":
            from . import speed

            return speed.main()
        if arguments.command in ("grade", "merge"):
            return _grade(arguments)
        if arguments.command in ("feedback", "similar"):
            return _of_results(arguments)
        if arguments.command == "collect":
            return _collect(arguments)
        if arguments.command in ("dist", "gradescope"):
            return _pack(arguments)
        if arguments.command == "docs":
            from .site import docs

            return docs.main(arguments.instructor)
        if arguments.command in ("box", "unbox"):
            apparmor.install() if arguments.command == "box" else apparmor.remove()
            return 0
        return student.doctor() if arguments.command == "doctor" else student.clean_ipc()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {UserError.from_refusal(error)}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
