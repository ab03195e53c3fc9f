"""Builds the site: writes the files that Doxygen reads, generates some pages, and runs Doxygen.

Handouts, `docs/*.md` and the cards of `docs/api/` are plain files, which markup.py converts for Doxygen. The page of
common mistakes comes from the head lines of `harness/mistakes/`, and the side bar from READING_ORDER.
"""
from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, Iterator, List, Sequence, Tuple

from .. import gallery
from ..labs import MISTAKES, ROOT, SOLUTIONS, Lab, all_labs
from . import mistakes, play, search_index, teaching
from .markup import Card, Markup, card_header, cards_of, plain, program, raw
from .outline import outline

DOCS = ROOT / "docs"
THEME_PACKAGE = Path("/usr/share/doxygen-awesome-css")

# The side bar, from top to bottom. A word is docs/WORD.md unless it is a key of GENERATED, below.
WELCOME, README = "welcome", "readme"
READING_ORDER = (WELCOME, "start", "machine", "elsewhere", "handouts", "compare", "which", "lifetime", "address", "sysv_posix",
                 "synchronise", "speed", "schedules", "stepper", "build", "failures", "killed", "see", "trace", "mistakes", "api",
                 "glossary", "cheat_sheet", "instructors",
                 "grading", "maintainers")
LABELS = {README: "All commands", "compare": "Anonymous or named?"}  # not the page's title

# The headers of docs/api/, in the order of the page that lists them.
SUBJECTS = ("sysv", "posix", "mapping", "processes", "semaphores", "mutexes", "passing", "atomics", "errors",
            "kernel")


@dataclass
class Page:
    """One page of the site, and its place in the side bar."""

    ident: str
    title: str
    text: str = ""  # Markdown for Doxygen; empty if Doxygen makes the page from a C file or it is a section of another page
    label: str = ""  # the title in the side bar, if it differs
    below: List["Page"] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.label or self.title


def flatten(pages: Sequence[Page]) -> Iterator[Page]:
    """Yields the pages in reading order, each before those below it."""
    for page in pages:
        yield page
        yield from flatten(page.below)


def html_file(page: Page) -> str:
    """Returns the name of the HTML file that Doxygen writes for a page that has a text."""
    return "index.html" if page.ident == WELCOME else f"{page.ident}.html"


def card_headers() -> List[Path]:
    return [DOCS / "api" / f"{subject}.h" for subject in SUBJECTS]


def all_cards() -> List[Card]:
    return [card for path in card_headers() for card in cards_of(path.read_text(encoding="utf-8"))]


def _sources(lab: Lab) -> List[Path]:
    """Returns a lab's skeletons and the files provided with them."""
    return sorted(lab.directory.glob("*.[ch]"))


def _examples() -> List[Path]:
    return sorted((DOCS / "examples").glob("*.c"))


def _in_project(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# ---- generated pages --------------------------------------------------------------------------------------

def _mistakes_page(markup: Markup) -> Page:
    text = "# Common mistakes\n\n" + mistakes.text()
    return Page("mistakes", "Common mistakes", markup.convert(text, DOCS / "mistakes.md", "mistakes"))


def _course_parts() -> List[Tuple[str, List[Lab]]]:
    """Returns the parts of the course and their labs, from the table in the README."""
    labs = {lab.name: lab for lab in all_labs()}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d\. [^|]+?) \| (.*labs/.*) \|$", readme, re.M)
    return [(f"Part {title}", [labs[name] for name in re.findall(r"labs/(\w+)/README\.md", links)])
            for title, links in rows]


def _handouts_page(markup: Markup) -> Page:
    """Makes the page that lists the handouts by part; below it are the handouts, each with its programs."""
    listed = Page("handouts", "The handouts", label="Handouts")
    text = ["# The handouts\n"]
    for number, (title, labs) in enumerate(_course_parts(), 1):
        part = Page(f"handouts_part_{number}", title)
        text.append(f"\n## {title} {{#{part.ident}}}\n")
        for lab in labs:
            files = [Page(_in_project(path), path.name) for path in _sources(lab)]
            to_finish = " \u00b7 ".join(f"[{file.title}]({file.title})" for file in files)
            hours = teaching.hours(lab)
            head = f"To finish: {to_finish}<br>Difficulty: {teaching.difficulty(hours)} (about {hours:.0f} hours)"
            to_play = " \u00b7 ".join(f'<a href="{link}">{title}</a>' for title, link in play.links(lab.number))
            head += f"<br>To play with: {to_play}" if to_play else ""
            handout = lab.handout.replace("\n", f"\n\n{head}\n", 1)
            ident = f"lab_{lab.number}"
            part.below.append(Page(ident, lab.title, markup.convert(handout, lab.directory / "README.md", ident),
                                   f"{lab.number} {lab.title}", files))
            text.append(f"- [Lab {lab.number}: {lab.title}](../labs/{lab.name}/README.md). {lab.section('Goal')}\n")
        listed.below.append(part)
    listed.text = markup.convert("".join(text), DOCS / "handouts.md", "handouts")
    return listed


def _cards_page(markup: Markup) -> Page:
    """Makes the page that lists all cards; below it are the groups of cards."""
    page = Page("api", "API cards")
    text = ["# API cards\n\nWhat the labs' programs call, what these calls return and how they fail. The search box "
            "finds every name.\n"]
    for path in card_headers():
        header = path.read_text(encoding="utf-8")
        ident, title = re.findall(r"@defgroup (\w+) (.*)", header)[0]
        page.below.append(Page(ident, title))
        text.append(f"\n## {title}\n\n| card | in a sentence |\n|---|---|\n")
        text += [f"| `{card.name}` | {card.brief} |\n" for card in cards_of(header) if card.kind != "field"]
    page.text = markup.convert("".join(text), DOCS / "api.md", "api")
    return page


GENERATED = {"handouts": _handouts_page, "mistakes": _mistakes_page, "api": _cards_page}


def _solution_page(lab: Lab, markup: Markup) -> Page:
    """Makes the instructor's page of a lab: its solution, the answers, its checks and the mistakes that they catch."""
    ident = f"solution_{lab.number}"
    text = [f"# Solution of lab {lab.number}: {lab.title}\n\n"
            f"The handout: [lab {lab.number}](../labs/{lab.name}/README.md).\n"]
    for path in sorted((SOLUTIONS / lab.name).glob("*.[ch]")):
        text.append(f"\n## {path.name}\n\n@include {_in_project(path)}\n")
    answers = SOLUTIONS / lab.name / "answers.md"
    if answers.exists():
        text.append(f"\n## Answers to the questions\n\n{answers.read_text(encoding='utf-8')}")
    text.append("\n## Grading\n\n| points | check | requirement |\n|---|---|---|\n")
    text += [f"| {check.points} | `{check.name}` | {check.sentence} |\n" for check in lab.checks()]
    text.append("\n## Known mistakes\n")
    for mistake in gallery.mistakes():
        if mistake.lab == lab:
            patch = mistake.path.read_text(encoding="utf-8")
            caught = ", ".join(f"`{name}`" for name in mistake.caught_by)
            lessons = " ".join(check.sentence for check in lab.checks() if check.name in mistake.caught_by)
            text.append(f"\n<details><summary>{mistake.name}: {mistake.title}</summary>\n\n{mistake.seen_as} "
                        f"Caught by {caught}.\n\nTeaches: {lessons}\n\n```diff\n{patch[patch.index('--- '):]}```\n\n</details>\n")
    return Page(ident, lab.title, markup.convert("".join(text), SOLUTIONS / "page.md", ident),
                f"{lab.number} {lab.title}")


def _solutions_page(markup: Markup) -> Page:
    """Makes the instructor's page that lists the solutions."""
    below = [_solution_page(lab, markup) for lab in all_labs()]
    text = "".join(f'- @ref {page.ident} "{page.label}"\n' for page in below)
    title = "Solutions and grading"
    return Page("solutions", title, f"# {title} {{#solutions}}\n\n{text}", below=below)


def _teaching_page(markup: Markup) -> Page:
    """Makes the instructor's page on outcomes, hours and plans."""
    path = DOCS / "teaching.md"
    text = path.read_text(encoding="utf-8").replace("{effort}", teaching.effort_table())
    return Page("teaching", "Teaching with the labs", markup.convert(text, path, "teaching"))


# ---- the site ---------------------------------------------------------------------------------------------


def _title(text: str) -> str:
    return str(re.findall(r"^# (.*?)(?: \{#\w+\})?$", text, re.M)[0])


def _source_page(word: str, markup: Markup) -> Page:
    path = ROOT / "README.md" if word == README else DOCS / f"{word}.md"
    text = path.read_text(encoding="utf-8")
    return Page(word, plain(_title(text)), markup.convert(text, path, word, home=WELCOME), LABELS.get(word, ""))


def _markup() -> Markup:
    """Collects the cards by name and the page of each file, for the links."""
    targets = {DOCS / f"{word}.md": "index" if word == WELCOME else word for word in READING_ORDER}
    targets.update({ROOT / "README.md": README, MISTAKES: "mistakes", DOCS / "api": "api"})
    targets.update({path: _in_project(path) for path in _examples()})
    for lab in all_labs():
        targets[lab.directory / "README.md"] = targets[lab.directory] = f"lab_{lab.number}"
        targets.update({path: _in_project(path) for path in _sources(lab)})
    return Markup({card.name: card for card in all_cards()}, targets)


def _pages(markup: Markup, instructor: bool) -> List[Page]:
    """Returns the pages of one edition in reading order, each with links to the page before and after it."""
    pages = [GENERATED[word](markup) if word in GENERATED else _source_page(word, markup) for word in READING_ORDER]
    pages[READING_ORDER.index("start")].below.append(_source_page(README, markup))
    if instructor:
        pages += [_teaching_page(markup), _solutions_page(markup)]
    order = [page for page in flatten(pages) if page.text]
    for before, page, after in zip([None, *order], order, [*order[1:], None]):
        links = [f'<a href="{html_file(other)}">{word}: {html.escape(other.name)}</a>'
                 for other, word in ((before, "Before"), (after, "Next")) if other]
        page.text += "\n" + raw(f'<nav class="turn" aria-label="Pages">{" ".join(links)}</nav>') + "\n"
    return pages


def _ways_on() -> Dict[Path, List[Tuple[str, str, str]]]:
    """Returns for each program the links below it: to its handout and the next page, or to the pages that quote it."""
    links: Dict[Path, List[Tuple[str, str, str]]] = {}
    handouts = [("Next", f"lab_{lab.number}", f"{lab.number} {lab.title}") for lab in all_labs()]
    for lab, ours, following in zip(all_labs(), handouts, [*handouts[1:], None]):
        files = _sources(lab)
        order = [*(("Next", _in_project(path), path.name) for path in files), *([following] if following else [])]
        for at, path in enumerate(files, 1):
            links[path] = [("Handout", *ours[1:]), *order[at:at + 1]]
    texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("*.md"))}
    for path in _examples():
        links[path] = [("Quoted in", word, _title(text)) for word, text in texts.items() if path.name in text]
    return links


def _layout(pages: Sequence[Page]) -> str:
    """Returns Doxygen's layout file with our side bar. Doxygen would put pages, cards and files into three trees."""
    def entries(some: Sequence[Page], indent: str) -> Iterator[str]:
        for page in some:
            kind = "usergroup" if page.below else "user"
            name = html.escape(page.name)
            yield f'{indent}<tab type="{kind}" visible="yes" url="@ref {page.ident}" title="{name}">\n'
            yield from entries(page.below, indent + "  ")
            yield f"{indent}</tab>\n"

    welcome = '    <tab type="mainpage" visible="yes" title="Welcome"/>\n'
    return ('<doxygenlayout version="1.0">\n  <navindex>\n' + welcome + "".join(entries(pages[1:], "    "))
            + "  </navindex>\n</doxygenlayout>\n")


def _uses() -> Dict[str, List[str]]:
    """Returns for each card the labs whose handout, skeleton or solution contains its name."""
    words = {}
    for lab in all_labs():
        sources = [*_sources(lab), *(SOLUTIONS / lab.name).glob("*.[ch]")]
        texts = [lab.handout, *(path.read_text(encoding="utf-8") for path in sources)]
        words[lab.number] = set(re.findall(r"\w+", " ".join(texts)))
    return {card.name: [number for number in words if card.name in words[number]] for card in all_cards()}


def _write_header(directory: Path) -> None:
    """Adds our scripts and icon to the page header of the installed Doxygen: a header of another version can break the pages."""
    subprocess.run(["doxygen", "-w", "html", "header.html", "footer.html", "style.css"], cwd=directory,
                   check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    text = (directory / "header.html").read_text(encoding="utf-8")
    text = re.sub(r'<html ([^>]*?)(?: lang="[^"]*")?>', r'<html \1 lang="en">', text, count=1)
    scripts = ["lab.js", *(["search.js"] if search_index.available() else [])]
    ours = ['<link rel="icon" type="image/svg+xml" href="$relpath^favicon.svg"/>',
            *(f'<script type="text/javascript" src="$relpath^{script}"></script>' for script in scripts), "</head>"]
    text = text.replace("</head>", "\n".join(ours))
    (directory / "header.html").write_text(text, encoding="utf-8")


def _write_sources(directory: Path, instructor: bool) -> None:
    """Empties a directory and writes all files that Doxygen reads to it."""
    shutil.rmtree(directory, ignore_errors=True)
    markup, uses = _markup(), _uses()
    pages = _pages(markup, instructor)
    files = {f"pages/{page.ident}.md": page.text for page in flatten(pages) if page.text}
    files.update({f"api/{path.name}": card_header(path, markup, uses) for path in card_headers()})
    programs = [path for lab in all_labs() for path in _sources(lab)] + _examples()
    ways_on = _ways_on()
    files.update({_in_project(path): program(path, markup, ways_on[path]) for path in programs})
    files["layout.xml"] = _layout(pages)
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text, encoding="utf-8")
    _write_header(directory)


def _settings(directory: Path, output: Path, theme: bool) -> List[str]:
    """Returns the settings that depend on the edition and this machine: directories, Doxygen's version, the theme."""
    version = subprocess.run(["doxygen", "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    can_be_dark = tuple(int(part) for part in re.findall(r"\d+", version.stdout)[:3]) >= (1, 9, 5)
    sheets = [THEME_PACKAGE / f"doxygen-awesome{name}.css" for name in ("", "-sidebar-only")]
    themed = theme and all(sheet.is_file() for sheet in sheets)
    ours = ["lab", *([] if themed else ["plain"]), *(["dark"] if themed or can_be_dark else [])]
    sheets = (sheets if themed else []) + [DOCS / "theme" / f"{name}.css" for name in ours]
    # If these stayed in the paths, Doxygen would make an empty page for each directory.
    directories = sorted(str(path) for path in directory.rglob("*") if path.is_dir())
    return [f"INPUT = {directory}", f"STRIP_FROM_PATH = {' '.join(directories)}", f"OUTPUT_DIRECTORY = {output}",
            f"LAYOUT_FILE = {directory / 'layout.xml'}", f"HTML_HEADER = {directory / 'header.html'}",
            "HTML_EXTRA_STYLESHEET = " + " ".join(map(str, sheets)),
            *([f"HTML_COLORSTYLE = {'LIGHT' if themed else 'AUTO_LIGHT'}"] if can_be_dark else [])]


def build(output: Path, instructor: bool = False, theme: bool = True) -> "subprocess.CompletedProcess[str]":
    """Builds one edition in `output`, and Doxygen's input in `output`-src. Returns Doxygen's status and messages.

    Without lunr the pages have no search box.
    """
    directory = output.with_name(output.name + "-src")
    _write_sources(directory, instructor)
    shutil.rmtree(output, ignore_errors=True)
    base = "docs/instructor.doxy" if instructor else "Doxyfile"
    settings = "\n".join([f"@INCLUDE = {base}", *_settings(directory, output, theme), ""])
    done = subprocess.run(["doxygen", "-"], cwd=ROOT, input=settings, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    outline(output)
    if done.returncode == 0 and search_index.available():
        search_index.write(output)
    if instructor and done.returncode == 0:
        (output / "slides.html").write_text(teaching.slides(), encoding="utf-8")
    return done


def main(instructor: bool) -> int:
    """Builds one edition in build/docs or build/docs-instructor. Returns the exit status."""
    output = ROOT / "build" / ("docs-instructor" if instructor else "docs")
    done = build(output, instructor)
    print(done.stdout, end="", file=sys.stderr)
    if done.returncode == 0:
        if not search_index.available():
            print(f"the pages have no search box: {search_index.PACKAGES} are missing (Debian's names)", file=sys.stderr)
        print(f"{os.path.relpath(output)}/index.html")
    return 1 if done.returncode else 0
