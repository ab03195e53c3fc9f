"""Makes the site: prepares what Doxygen reads, adds the pages that are made, and runs Doxygen.

Handouts, `docs/*.md` and the cards of `docs/api/` are plain files, which markup.py turns into what Doxygen
renders. Common mistakes come from the headers of `harness/mistakes/`, the side bar from the order of the pages below.
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
from ..labs import CHECKS, MISTAKES, ROOT, SOLUTIONS, Lab, all_labs
from .markup import Card, Markup, card_header, cards_of, plain, program, raw, slug

DOCS = ROOT / "docs"
THEME_PACKAGE = Path("/usr/share/doxygen-awesome-css")

# The side bar, from top to bottom. A word is docs/WORD.md unless it is a key of MADE, below.
WELCOME, README = "welcome", "readme"
READING_ORDER = (WELCOME, "start", "handouts", "compare", "sysv_posix", "synchronise", "failures", "see",
                 "mistakes", "api", "glossary", "instructors",
                 "grading", "maintainers")
LABELS = {README: "All commands", "compare": "Anonymous or named?"}  # not the page's title

# The headers of docs/api/, in the order in which they are listed.
SUBJECTS = ("sysv", "posix", "mapping", "processes", "semaphores", "mutexes", "passing", "atomics", "errors",
            "kernel")


@dataclass
class Page:
    """One page of the site, and its place in the side bar."""

    ident: str
    title: str
    text: str = ""  # for Doxygen; empty: the page is made from a source file, or is a section of another
    label: str = ""  # what the side bar calls it, if not by its title
    below: List["Page"] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.label or self.title


def flat(pages: Sequence[Page]) -> Iterator[Page]:
    """The pages in the order in which one reads."""
    for page in pages:
        yield page
        yield from flat(page.below)


def file_of(page: Page) -> str:
    """The file in which Doxygen puts a page that has a text."""
    return "index.html" if page.ident == WELCOME else f"{page.ident}.html"


def card_headers() -> List[Path]:
    return [DOCS / "api" / f"{subject}.h" for subject in SUBJECTS]


def all_cards() -> List[Card]:
    return [card for path in card_headers() for card in cards_of(path.read_text(encoding="utf-8"))]


def _sources(lab: Lab) -> List[Path]:
    """A lab's unfinished programs, and what is given with them."""
    return sorted(lab.directory.glob("*.[ch]"))


def _examples() -> List[Path]:
    return sorted((DOCS / "examples").glob("*.c"))


def _in_project(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# ---- pages that are made ----------------------------------------------------------------------------------

# What one sees. A mistake stands under the first heading whose words are in its "Seen as"; the last takes the rest.
SYMPTOMS = (
    ("I get SIGBUS", r"SIGBUS"),
    ("I get SIGSEGV, or another signal kills the program", r"SIGSEGV|SIGFPE|killed without a word|and die,"),
    ("It hangs",
     r"for ever|never (ends|comes back|woken)|waits? (for|beside)|sleeps on|stand still|not woken"
     r"|does not end|Hangs|keeps everybody|No sleeper|not recoverable|Owner died|can (ever )?lock|nothing at all|nobody posts"),
    ("It is slow, or uses a whole processor",
     r"processor|tenth of a second|(hundred|thousand|ten) times|millisecond|waits 100 ms"),
    ("The name or the key is taken",
     r"File exists|taken:|(name|key) (stays )?taken|in use|already is a|stumbles|name taken"),
    ("Something is left behind",
     r"\bleft\b|\bstays?\b|still (listed|in maps|among|there|in use)|defunct|one more|at its end"
     r"|given back|grows by|an? new file|attached|descriptors\.|One more|the memory open|other children"),
    ("It is gone, or nobody finds it",
     r"shows nothing after|finds? (no segment|nothing)|(is|long) gone|alone with|key 0x0"
     r"|hand(ed|s) over|get together"),
    ("Permission denied, or too much permission",
     r"[Pp]ermission|perms|umask|mode|any user|may only be read|cannot be (opened|removed)|rw-s"),
    ("The other process does not see it",
     r"r--p|rw-p|private|shared word|never (shar|sees|has TEXT)|would ever share|total is 0"
     r"|zero bytes?\.$|holds OLD|does not appear|has changed the heap"),
    ("Something of somebody else's is overwritten",
     r"overwrit|takes the (first one's )?place|another office|once more while|would change"
     r"|changes the file"),
    ("It fails, and says that all went well",
     r"exit status|unnoticed|not noticed|all went well|without a word|passes for|counts as"
     r"|as if all|that all|never hears|not told|died of|whatever|seems to be|succeeds?\b"
     r"|although a child|after the child"),
    ("It takes what it should refuse",
     r"is taken|are taken|\b3x\b|says nothing about|believe|is printed\.|far outside"),
    ("It refuses what it should take",
     r"refused|Invalid argument|EINVAL|is (an error|a failure)|complains|Interrupted|gives? up|given up|not as cat"
     r"|works in one order|status 2"),
    ("Numbers do not add up",
     r"total|lose|\blost\b|number|money|said to|every answer|ticket|paid|takes back|swapped|count"
     r"|wrong balance"),
    ("The size is wrong",
     r"\bsize|4096|longer than|shorter than|too small|100 bytes|cost 60|maps 60"),
    ("Bytes are missing, wrong or in the wrong order",
     r"bytes?\b|letter|cut|missing|arrives|torn|order|halves?|hello|nonsense|first word|twice"
     r"|od -c|printed|reading without|disk"),
    ("The message is no help, or not true", r"[Mm]essage|: Success|\bsays?\b"),
    ("It looks right, and is not", r""),
)


def symptom_of(mistake: gallery.Patch) -> str:
    """The heading under which somebody who has made this mistake would look for it."""
    return next(title for title, pattern in SYMPTOMS if re.search(pattern, mistake.seen_as))


def _common_mistakes(markup: Markup) -> Page:
    """The mistakes by what one sees of them. Their patches stay away: they hold lines of the solutions."""
    text = ["# Common mistakes\n\nAll of these programs have been written, and a check catches each. Look for what you "
            "see; what stands below it in italics is how it came about.\n"]
    for title, _ in SYMPTOMS:
        shown = [mistake for mistake in gallery.mistakes() if symptom_of(mistake) == title]
        text.append(f"\n## {title}\n\n" if shown else "")
        for mistake in shown:
            where = f"[lab {mistake.lab.number}](../labs/{mistake.lab.name}/README.md)"
            text.append(f"- {mistake.seen_as}<br><em>{mistake.title}</em> ({where})\n")
    return Page("mistakes", "Common mistakes", markup.convert("".join(text), DOCS / "mistakes.md", "mistakes"))


def _parts() -> List[Tuple[str, List[Lab]]]:
    """The parts of the course and their labs, from the table in the README."""
    labs = {lab.name: lab for lab in all_labs()}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d\. [^|]+?) \| (.*labs/.*) \|$", readme, re.M)
    return [(f"Part {title}", [labs[name] for name in re.findall(r"labs/(\w+)/README\.md", links)])
            for title, links in rows]


def _handouts(markup: Markup) -> Page:
    """The handouts, each with its programs below it, and a page that lists them by part."""
    listed = Page("handouts", "The handouts", label="Handouts")
    text = ["# The handouts\n"]
    for number, (title, labs) in enumerate(_parts(), 1):
        part = Page(f"handouts_part_{number}", title)
        text.append(f"\n## {title} {{#{part.ident}}}\n")
        for lab in labs:
            files = [Page(_in_project(path), path.name) for path in _sources(lab)]
            to_finish = " \u00b7 ".join(f"[{file.title}]({file.title})" for file in files)
            handout = lab.handout.replace("\n", f"\n\nTo finish: {to_finish}\n", 1)
            ident = f"lab_{lab.number}"
            part.below.append(Page(ident, lab.title, markup.convert(handout, lab.directory / "README.md", ident),
                                   f"{lab.number} {lab.title}", files))
            text.append(f"- [Lab {lab.number}: {lab.title}](../labs/{lab.name}/README.md). {lab.section('Goal')}\n")
        listed.below.append(part)
    listed.text = markup.convert("".join(text), DOCS / "handouts.md", "handouts")
    return listed


def _card_list(markup: Markup) -> Page:
    """All cards in one list, with the groups below it."""
    page = Page("api", "API cards")
    text = ["# API cards\n\nWhat the labs' programs call, what these calls give and how they fail. The search box "
            "finds every name.\n"]
    for path in card_headers():
        header = path.read_text(encoding="utf-8")
        ident, title = re.findall(r"@defgroup (\w+) (.*)", header)[0]
        page.below.append(Page(ident, title))
        text.append(f"\n## {title}\n\n| card | in a sentence |\n|---|---|\n")
        text += [f"| `{card.name}` | {card.brief} |\n" for card in cards_of(header) if card.kind != "field"]
    page.text = markup.convert("".join(text), DOCS / "api.md", "api")
    return page


# What people type into the search box, which knows only how titles and names begin, and the section that answers.
SOUGHT = {"Bus error (SIGBUS)": "SIGBUS", "Segmentation fault (SIGSEGV)": "SIGSEGV", "Hangs, waits for ever": "It hangs",
          "It hangs": "It hangs", "Deadlock": "It hangs", "Wrong values": "Wrong values", "Leaks": "Leaks",
          "ipcs is full of segments": "Leaks", "Left-over segments and objects": "Leaks",
          "Permission denied (EACCES)": "Permissions", "File exists (EEXIST)": "Error numbers",
          "No such file or directory (ENOENT)": "Error numbers", "No space left on device (ENOSPC)": "Error numbers",
          "Invalid argument (EINVAL)": "Error numbers", "Cannot allocate memory (ENOMEM)": "Error numbers",
          "Operation not permitted (EPERM)": "Error numbers", "Containers and limits": "Limits, and containers"}


def _search_terms(markup: Markup) -> Dict[str, str]:
    """For each thing sought a page that leads on to the answer in docs/failures.md; search finds it, no side bar has it."""
    path, pages = DOCS / "failures.md", {}
    for title, section in SOUGHT.items():
        ident, anchor = "sought_" + slug(title), slug(section)
        text = f"# {title}\n\nSee [How it fails: {section}](failures.md#{anchor}).\n"
        onward = f'<script>location.replace("failures.html#failures_{anchor}");</script>'
        pages[ident] = markup.convert(text, path, ident) + f"\n{raw(onward)}\n"
    return pages


MADE = {"handouts": _handouts, "mistakes": _common_mistakes, "api": _card_list}

CHECK = re.compile(r'^@points\((\d+).*?\)\ndef (test_\w+)\(lab\):\n    """(.*?)(?:\n\n|""")', re.M | re.S)


def _solved(lab: Lab, markup: Markup) -> Page:
    """For the instructor: a lab's solution, what its checks ask, and the mistakes that they catch."""
    ident = f"solution_{lab.number}"
    text = [f"# Solution of lab {lab.number}: {lab.title}\n\n"
            f"The handout: [lab {lab.number}](../labs/{lab.name}/README.md).\n"]
    for path in sorted((SOLUTIONS / lab.name).glob("*.[ch]")):
        text.append(f"\n## {path.name}\n\n@include {_in_project(path)}\n")
    text.append("\n## Grading\n\n| points | check | what it asks |\n|---|---|---|\n")
    for points, name, sentence in CHECK.findall((CHECKS / f"test_{lab.name}.py").read_text(encoding="utf-8")):
        text.append(f"| {points} | `{name}` | {' '.join(sentence.split())} |\n")
    text.append("\n## Known mistakes\n")
    for mistake in gallery.mistakes():
        if mistake.lab == lab:
            patch = mistake.path.read_text(encoding="utf-8")
            caught = ", ".join(f"`{name}`" for name in mistake.caught_by)
            text.append(f"\n<details><summary>{mistake.name}: {mistake.title}</summary>\n\n{mistake.seen_as} "
                        f"Caught by {caught}.\n\n```diff\n{patch[patch.index('--- '):]}```\n\n</details>\n")
    return Page(ident, lab.title, markup.convert("".join(text), SOLUTIONS / "page.md", ident),
                f"{lab.number} {lab.title}")


def _solutions(markup: Markup) -> Page:
    """For the instructor: the list of what follows."""
    below = [_solved(lab, markup) for lab in all_labs()]
    text = "".join(f'- @ref {page.ident} "{page.label}"\n' for page in below)
    title = "Solutions and grading"
    return Page("solutions", title, f"# {title} {{#solutions}}\n\n{text}", below=below)


# ---- the site ---------------------------------------------------------------------------------------------


def _written(word: str, markup: Markup) -> Page:
    path = ROOT / "README.md" if word == README else DOCS / f"{word}.md"
    text = path.read_text(encoding="utf-8")
    title = re.findall(r"^# (.*?)(?: \{#\w+\})?$", text, re.M)[0]
    return Page(word, plain(title), markup.convert(text, path, word, home=WELCOME), LABELS.get(word, ""))


def _markup() -> Markup:
    """Which name leads to which card, which file to which page."""
    targets = {DOCS / f"{word}.md": "index" if word == WELCOME else word for word in READING_ORDER}
    targets.update({ROOT / "README.md": README, MISTAKES: "mistakes", DOCS / "api": "api"})
    targets.update({path: _in_project(path) for path in _examples()})
    for lab in all_labs():
        targets[lab.directory / "README.md"] = targets[lab.directory] = f"lab_{lab.number}"
        targets.update({path: _in_project(path) for path in _sources(lab)})
    return Markup({card.name: card for card in all_cards()}, targets)


def _pages(markup: Markup, instructor: bool) -> List[Page]:
    """The pages of one edition, in reading order."""
    pages = [MADE[word](markup) if word in MADE else _written(word, markup) for word in READING_ORDER]
    pages[READING_ORDER.index("start")].below.append(_written(README, markup))
    if instructor:
        pages.append(_solutions(markup))
    order = [page for page in flat(pages) if page.text]
    for before, page, after in zip([None, *order], order, [*order[1:], None]):
        ways = [f'<a href="{file_of(other)}">{word}: {html.escape(other.name)}</a>'
                for other, word in ((before, "Before"), (after, "Next")) if other]
        page.text += "\n" + raw(f'<nav class="turn" aria-label="Pages">{" ".join(ways)}</nav>') + "\n"
    return pages


def _layout(pages: Sequence[Page]) -> str:
    """The side bar. Doxygen's own order would put pages, cards and files into three separate trees."""
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
    """For each card the labs whose handout or program, unfinished or finished, mentions its name."""
    words = {}
    for lab in all_labs():
        sources = [*_sources(lab), *(SOLUTIONS / lab.name).glob("*.[ch]")]
        texts = [lab.handout, *(path.read_text(encoding="utf-8") for path in sources)]
        words[lab.number] = set(re.findall(r"\w+", " ".join(texts)))
    return {card.name: [number for number in words if card.name in words[number]] for card in all_cards()}


def _write_header(directory: Path) -> None:
    """Doxygen's own page header with our script in it. None is kept: that of one version breaks another."""
    subprocess.run(["doxygen", "-w", "html", "header.html", "footer.html", "style.css"], cwd=directory,
                   check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    text = (directory / "header.html").read_text(encoding="utf-8")
    text = re.sub(r'<html ([^>]*?)(?: lang="[^"]*")?>', r'<html \1 lang="en">', text, count=1)
    text = text.replace("</head>", '<script type="text/javascript" src="$relpath^lab.js"></script>\n</head>')
    (directory / "header.html").write_text(text, encoding="utf-8")


def _write_sources(directory: Path, instructor: bool) -> None:
    """Writes all that Doxygen reads into an empty directory."""
    shutil.rmtree(directory, ignore_errors=True)
    markup, uses = _markup(), _uses()
    pages = _pages(markup, instructor)
    files = {f"pages/{page.ident}.md": page.text for page in flat(pages) if page.text}
    files.update({f"pages/{ident}.md": text for ident, text in _search_terms(markup).items()})
    files.update({f"api/{path.name}": card_header(path, markup, uses) for path in card_headers()})
    programs = [path for lab in all_labs() for path in _sources(lab)] + _examples()
    files.update({_in_project(path): program(path, markup) for path in programs})
    files["layout.xml"] = _layout(pages)
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text, encoding="utf-8")
    _write_header(directory)


def _settings(directory: Path, output: Path, theme: bool) -> List[str]:
    """What depends on the edition and on this machine: directories, Doxygen's version, whether there is the theme."""
    asked = subprocess.run(["doxygen", "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    can_be_dark = tuple(int(part) for part in re.findall(r"\d+", asked.stdout)[:3]) >= (1, 9, 5)
    sheets = [THEME_PACKAGE / f"doxygen-awesome{name}.css" for name in ("", "-sidebar-only")]
    themed = theme and all(sheet.is_file() for sheet in sheets)
    ours = ["lab", *([] if themed else ["plain"]), *(["dark"] if themed or can_be_dark else [])]
    sheets = (sheets if themed else []) + [DOCS / "theme" / f"{name}.css" for name in ours]
    directories = sorted(str(path) for path in directory.rglob("*") if path.is_dir())  # left in, each has an empty page of its own
    return [f"INPUT = {directory}", f"STRIP_FROM_PATH = {' '.join(directories)}", f"OUTPUT_DIRECTORY = {output}",
            f"LAYOUT_FILE = {directory / 'layout.xml'}", f"HTML_HEADER = {directory / 'header.html'}",
            "HTML_EXTRA_STYLESHEET = " + " ".join(map(str, sheets)),
            *([f"HTML_COLORSTYLE = {'LIGHT' if themed else 'AUTO_LIGHT'}"] if can_be_dark else [])]


def build(output: Path, instructor: bool = False, theme: bool = True) -> "subprocess.CompletedProcess[str]":
    """Makes one edition in a directory, and beside it what it is made of. Gives Doxygen's complaints."""
    directory = output.with_name(output.name + "-src")
    _write_sources(directory, instructor)
    shutil.rmtree(output, ignore_errors=True)
    base = "docs/instructor.doxy" if instructor else "Doxyfile"
    settings = "\n".join([f"@INCLUDE = {base}", *_settings(directory, output, theme), ""])
    return subprocess.run(["doxygen", "-"], cwd=ROOT, input=settings, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)


def main(instructor: bool) -> int:
    """Makes one edition in build/docs or build/docs-instructor."""
    output = ROOT / "build" / ("docs-instructor" if instructor else "docs")
    done = build(output, instructor)
    print(done.stdout, end="", file=sys.stderr)
    if done.returncode == 0:
        print(f"{os.path.relpath(output)}/index.html")
    return 1 if done.returncode else 0
