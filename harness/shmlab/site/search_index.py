"""Makes the index of the search box from the pages that Doxygen wrote, for lunr in the browser.

What can be found is an entry: a section, an API card, a row of a table, a word of the glossary or a common mistake. Rows,
words and mistakes get an anchor here. The index is a script, `search-index.js`, because a browser reads no other file
for a page that it opened from a disk.
"""
from __future__ import annotations

import errno
import importlib
import importlib.util
import json
import os
import re
import shutil
import signal
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

from ..labs import ROOT

LUNR = Path("/usr/share/javascript/lunr/lunr.min.js")
SCRIPT = ROOT / "docs" / "theme" / "search.js"
SYNONYMS = ROOT / "docs" / "synonyms.txt"
PACKAGES = "libjs-lunr and python3-lunr"

# Pages that answer what readers ask come before those that lead there, repeat it, or are for those who teach.
WEIGHTS = ((r"(failures|build|killed|synchronise|start)\.html", 1.6), (r"group__|glossary|lab_\d", 1.0),
           (r"index|handouts", 0.3), (r"cheat_sheet|mistakes|readme|struct", 0.5),
           (r"instructors|grading|maintainers|solution|.*_8[ch]\.", 0.5), (r"", 1.0))

ROW_WEIGHT = 0.7  # a row of a table compared with a section
LENGTH = 0.3  # how much a long text counts less, from 0 to 1: a section with a long list of messages is as good as any

# A match in one of these fields counts so many times as much as one in the text.
BOOSTS = {"title": 8, "messages": 6, "page": 2, "text": 1}

LISTS = {"api.html"}  # repeats the cards


def available() -> bool:
    """Returns whether this machine has lunr for the browser and for Python."""
    return importlib.util.find_spec("lunr") is not None and LUNR.is_file()


# ---- error messages ---------------------------------------------------------------------------------------


def _messages() -> Dict[str, str]:
    """Returns for each error number and signal what perror() and a shell print for it."""
    texts = {name: os.strerror(number) for number, name in errno.errorcode.items()}
    for number in signal.Signals:
        text = signal.strsignal(number)
        texts[number.name] = f"{text} (core dumped) exit status {128 + number} signal {number.value}" if text else ""
    return texts


MESSAGES = _messages()


def messages_of(text: str) -> str:
    """Returns the messages of all error numbers and signals that a text names."""
    names = dict.fromkeys(re.findall(r"\b(?:E[A-Z0-9]+|SIG[A-Z0-9]+)\b", text))
    return "; ".join(MESSAGES[name] for name in names if name in MESSAGES)


def words(text: str) -> str:
    """Returns the words of a text as they are indexed: in lower case; a name such as shm_open also in its parts."""
    found = []
    for word in re.findall(r"\w+", text.lower()):
        found.append(word)
        parts = [part for part in word.split("_") if part]
        found += parts if len(parts) > 1 else []
    return " ".join(found)


# ---- pages ------------------------------------------------------------------------------------------------


@dataclass
class Entry:
    """One thing that can be found. `section` is the entry's own anchor, or that of the section that has it."""

    page: str
    title: str
    file: str
    anchor: str
    section: str
    text: str = ""
    messages: str = ""  # what perror() or a shell prints for the title, and other pages' names for it

    @property
    def place(self) -> str:
        return f"{self.file}#{self.anchor}" if self.anchor else self.file


ROW = re.compile(r"<tr>(?=\s*<td)")
TERM = re.compile(r"(<p) ?>(?=(?:<a class=\"anchor\" id=\"\w+\"></a>)?\s*<b>)")
ITEM = re.compile(r"<li>")
TABLES = re.compile(r'<table class="markdownTable.*?</table>', re.S)


def _with_anchors(name: str, page: str) -> str:
    """Gives an id to each row of a table and, on their pages, to each word of the glossary and each common mistake."""
    count = 0

    def number(tag: str) -> str:
        nonlocal count
        count += 1
        return f'{tag} id="entry_{count}">'

    page = TABLES.sub(lambda table: ROW.sub(lambda _: number("<tr"), table[0]), page)
    if name == "glossary.html":
        page = TERM.sub(lambda _: number("<p"), page)
    if name == "mistakes.html":
        at = page.find('<div class="textblock">')
        page = page[:at] + ITEM.sub(lambda _: number("<li"), page[at:])
    return page


HEADINGS = {"h1", "h2", "h3", "h4"}
VOID = {"br", "img", "meta", "link", "input", "hr", "wbr", "col"}
# Not indexed: what repeats other text, pictures, and hints, because a result would tell them.
SKIPPED_TAGS = {"address", "script", "style", "svg", "nav", "details"}
SKIPPED_CLASSES = {"toc", "memberdecls", "permalink", "lineno", "summary", "ttc", "mlabels", "footer", "navpath"}


class _Page(HTMLParser):
    """Reads the entries of one page."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__()
        self.file = name
        self.entries: List[Entry] = []
        self.title = ""
        self.open: List[Tuple[str, str]] = []  # tags and why each matters
        self.skipped = 0
        self.anchor = ""  # the last anchor without a heading of its own
        self.heading: Optional[List[str]] = None
        self.heading_anchor = ""
        self.cells: List[str] = []
        self.link = ""  # where the last link of a row leads
        self.link_text = ""
        self.aliases: List[Tuple[str, str]] = []  # places, and what else the page calls them
        self.above: List[str] = []
        self.last_row = 0
        self.is_source = bool(re.search(r"_8[ch]\.html$", name))
        self.feed(text)

    # -- tags

    def _kind(self, tag: str, given: Dict[str, str]) -> str:
        """Returns what an element is for the index."""
        classes = set(given.get("class", "").split())
        if tag in SKIPPED_TAGS or classes & SKIPPED_CLASSES or self.is_source and "fragment" in classes:
            return "skipped"
        if "title" in classes and not self.entries:
            return "title"
        if tag in HEADINGS and self.entries and "groupheader" not in classes:
            return "heading"
        if given.get("id", "").startswith("entry_"):
            return "row" if tag == "tr" else "entry"
        if "fieldname" in classes:
            return "heading"  # of what follows; the anchor is before it
        return "cell" if tag in ("td", "th") else ""

    def handle_starttag(self, tag: str, attributes: List[Tuple[str, Optional[str]]]) -> None:
        given = {name: value or "" for name, value in attributes}
        if tag in VOID:
            self._add("" if tag == "wbr" else " ")
            return
        kind = self._kind(tag, given)
        self.open.append((tag, kind))
        if kind == "skipped":
            self.skipped += 1
        if tag == "a" and self.heading is not None and given.get("id"):
            self.heading_anchor = given["id"]
        elif tag == "a" and given.get("href", "").startswith("#") and self._inside("permalink"):
            self.heading_anchor = given["href"][1:]
        elif tag == "a" and given.get("id"):
            self.anchor = given["id"]
        if tag == "a" and self.skipped and self.heading is not None and given.get("href", "").startswith("#"):
            self.heading_anchor = given["href"][1:]  # a card's heading links to itself
        if kind in ("heading", "title"):
            self.heading, self.heading_anchor = [], ""
        elif kind == "row":
            self.cells = []
            self.entries.append(Entry(self.title, "", self.file, given["id"], self._section()))
        elif kind == "entry":
            self.entries.append(Entry(self.title, "", self.file, given["id"], self._section()))
        elif kind == "cell" and self._inside("row"):
            self.cells.append("")
        elif tag == "a" and self._inside("row"):
            self.link, self.link_text = given.get("href", ""), ""
        elif tag in ("p", "li", "div", "td", "th", "tr", "dd", "dt", "pre"):
            self._add(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag not in [name for name, _ in self.open]:
            return
        while self.open:
            name, kind = self.open.pop()
            self._close(kind)
            if name == tag:
                break

    def _inside(self, kind: str) -> bool:
        return any(of == kind for _, of in self.open)

    def _inside_tag(self, tag: str) -> bool:
        return any(name == tag for name, _ in self.open)

    def _section(self) -> str:
        return next((entry.section for entry in reversed(self.entries) if entry.anchor == entry.section), "")

    def _close(self, kind: str) -> None:
        if kind == "skipped":
            self.skipped -= 1
        elif kind in ("heading", "title") and self.heading is not None:
            title, self.heading = re.sub(" (File|Struct) Reference$", "", " ".join("".join(self.heading).split())), None
            if kind == "title":
                self.title = title
                self.entries.append(Entry(title, title, self.file, "", ""))
            elif title:
                anchor = self.heading_anchor or self.anchor
                self.entries.append(Entry(self.title, title, self.file, anchor, anchor))
        elif kind == "row":
            cells = [" ".join(cell.split()) for cell in self.cells]
            for at, cell in enumerate(cells):  # an empty cell at the left means the same as the one above it
                if cell or at >= len(self.above):
                    break
                cells[at] = self.above[at]
            self.above = cells
            self.entries[-1].title, self.entries[-1].text = cells[0], " \u00b7 ".join(filter(None, cells))
            leads_on = len(cells) > 1 and cells[-1] == " ".join(self.link_text.split()) != ""
            self._back("" if leads_on else self.entries[-1].text)
            if leads_on:
                self.entries.pop(self.last_row)
                self.aliases.append((self.link, " ".join(cells[:-1])))
        elif kind == "entry":
            entry = self.entries[-1]
            entry.text = " ".join(entry.text.split())
            entry.title = entry.text.split(":")[0] if self.file == "glossary.html" else ""
            self._back("")

    def _back(self, text: str) -> None:
        """After a row or the like, text belongs to its section again, which has the text of the row, too."""
        inner = self.entries.pop()
        at = max(at for at, entry in enumerate(self.entries) if entry.anchor == entry.section == inner.section)
        self.entries[at].text += f" {text} "
        self.entries.insert(at, inner)
        self.last_row = at

    # -- text

    def handle_data(self, data: str) -> None:
        self._add(data)

    def _add(self, data: str) -> None:
        if self.skipped or not self.open:
            return
        if self.heading is not None:
            self.heading.append(data)
        elif self.cells and self._inside("row"):
            self.cells[-1] += data
            self.link_text += data if self._inside_tag("a") else ""
        elif self.entries:
            self.entries[-1].text += data


def entries_of(name: str, page: str) -> Tuple[List[Entry], List[Tuple[str, str]]]:
    """Returns the entries of a page whose rows, words and mistakes have anchors, and its names for other places."""
    parsed = _Page(name, page)
    for entry in parsed.entries:
        entry.text = " ".join(entry.text.split())
    return [entry for entry in parsed.entries if entry.text or entry.title], parsed.aliases


# ---- synonyms ---------------------------------------------------------------------------------------------


def synonyms() -> List[Tuple[List[str], str]]:
    """Returns the lines of docs/synonyms.txt: alternatives that a reader types, and the words of the pages."""
    lines = [line for line in SYNONYMS.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return [([typed.strip() for typed in left.split(",")], right.strip()) for left, right in
            (line.split("=", 1) for line in lines)]


# ---- the index --------------------------------------------------------------------------------------------


def write(output: Path) -> None:
    """Writes anchors into the pages of `output`; beside them the index, the search box's script and lunr."""
    lunr = importlib.import_module("lunr")
    entries: List[Entry] = []
    aliases: Dict[str, List[str]] = {}
    for path in sorted(output.glob("*.html")):
        page = _with_anchors(path.name, path.read_text(encoding="utf-8"))
        path.write_text(page, encoding="utf-8")
        if path.name not in LISTS:
            found, names = entries_of(path.name, page)
            entries += found
            for place, text in names:
                aliases.setdefault(place, []).append(text)
    for entry in entries:
        entry.messages = "; ".join(filter(None, [messages_of(entry.title), *aliases.get(entry.place, [])]))
    builder = lunr.get_default_builder()
    builder.b(LENGTH)
    fields = [{"field_name": name, "boost": boost} for name, boost in BOOSTS.items()]
    documents = [(_document(number, entry), {"boost": _weight(entry)}) for number, entry in enumerate(entries)]
    index = lunr.lunr(ref="number", fields=fields, documents=documents, builder=builder)
    made = {"entries": _for_browser(entries), "synonyms": synonyms(), "index": index.serialize()}
    text = json.dumps(made, ensure_ascii=False, separators=(",", ":"))
    (output / "search-index.js").write_text(f"window.searchIndex = {text};\n", encoding="utf-8")
    for script in (LUNR, SCRIPT):
        shutil.copy(script, output)


def _weight(entry: Entry) -> float:
    weight = next(weight for pattern, weight in WEIGHTS if re.match(pattern, entry.file))
    return weight if entry.anchor == entry.section or entry.file == "glossary.html" else ROW_WEIGHT * weight


def _document(number: int, entry: Entry) -> Dict[str, str]:
    return {"number": str(number), "title": words(entry.title), "page": words(entry.page),
            "messages": words(entry.messages), "text": words(f"{entry.text} {messages_of(entry.text)}")}


def _for_browser(entries: Sequence[Entry]) -> List[List[str]]:
    """Returns each entry as place, section, page, the section's title, its own, messages and text."""
    titles = {(entry.file, entry.anchor): entry.title for entry in entries if entry.anchor == entry.section}
    return [[entry.place, f"{entry.file}#{entry.section}", entry.page, titles[entry.file, entry.section],
             entry.title, entry.messages, entry.text] for entry in entries]
