"""Makes the site: turns handouts, pages and cards into what Doxygen renders, adds the pages that are made, runs Doxygen.

The handouts and `docs/*.md` are plain Markdown, which a code-hosting site shows as it is. Doxygen 1.9.4 would split the
hints, miss the links between folders and link no call inside a code span, so it is fed copies in which that is settled.
Common mistakes come from the headers of `harness/mistakes/`; the side bar is the order of the pages below.
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
from typing import Dict, Iterator, List, Match, Optional, Sequence, Tuple

from . import gallery
from .labs import CHECKS, MISTAKES as MISTAKES_FOLDER, ROOT, SOLUTIONS, Lab, UserError, all_labs

DOCS = ROOT / "docs"
THEME_PACKAGE = Path("/usr/share/doxygen-awesome-css")

# The side bar, from top to bottom. A word is docs/WORD.md unless it stands for pages that are made here.
WELCOME, README, HANDOUTS, MISTAKES, CARDS, SOLVED = "welcome", "readme", "handouts", "mistakes", "api", "solutions"
READING_ORDER = (WELCOME, "start", HANDOUTS, "compare", "sysv_posix", "synchronise", "failures", "see", MISTAKES, CARDS,
                 "glossary", "instructors", "carry_on", SOLVED)
LABELS = {README: "All commands", "compare": "Anonymous or named?"}  # what fits better there than the page's title

# The headers of docs/api/, in the order in which they are listed.
SUBJECTS = ("sysv", "posix", "mapping", "processes", "semaphores", "mutexes", "passing", "atomics", "errors", "kernel")

# Calls whose names are also words of English: a link only where they are marked as code.
WORDS = {"fork", "kill", "open", "close", "link", "listen", "accept", "connect", "bind", "socket",
         "key", "perms", "size", "uid", "gid", "mode", "rss", "swap", "address", "offset", "dev", "inode", "path", "shmid"}


@dataclass
class Page:
    """One page of the site and its place in the side bar."""

    ident: str
    title: str
    text: str = ""  # for Doxygen; empty: the page is made from a source file
    label: str = ""  # what the side bar calls it
    below: List["Page"] = field(default_factory=list)


def flat(pages: Sequence[Page]) -> Iterator[Page]:
    for page in pages:
        yield page
        yield from flat(page.below)


# ---- cards ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Card:
    """What docs/api/ says about one call, constant, type or field."""

    name: str
    kind: str
    brief: str
    reference: str  # by which Doxygen knows it


DECLARATIONS = (("constant", r"#define (\w+)"), ("struct", r"struct (\w+)\s*\{"), ("type", r"typedef .*?\b(\w+);"),
                ("call", r"[\w ]+[\s*]+(\w+)\("))
DOCUMENTED = re.compile(r"/\*\*\n(?P<comment>(?:[ ]\*.*\n)*?)[ ]\*/\n(?P<line>[^\n]*)")
FIELD = re.compile(r"\b(?P<name>\w+)(?:\[\d+\])?;(?P<space>\s*)/\*\*< (?P<text>.*?) \*/")


def _declared(line: str) -> Tuple[str, str]:
    """Kind and name of what a line of C declares."""
    for kind, pattern in DECLARATIONS:
        found = re.match(pattern, line)
        if found:
            return kind, found.group(1)
    return "", ""


def cards_of(header: str) -> List[Card]:
    """The cards of one header, in its order. A field has one as well where its name belongs to no other struct."""
    cards = []
    for match in DOCUMENTED.finditer(header):
        kind, name = _declared(match["line"])
        brief = re.search(r"@brief (.*?)(?=\n \*\n|\n \* @|\Z)", match["comment"].rstrip(), re.S)
        if kind and brief:
            cards.append(Card(name, kind, re.sub(r"\s*\n \*\s*", " ", brief.group(1)), name))
        if kind == "struct":
            body = header[match.end():header.index("};", match.end())]
            cards += [Card(field["name"], "field", field["text"], f"{name}.{field['name']}")
                      for field in FIELD.finditer(body) if field["name"] not in WORDS]
    return cards


def card_headers() -> List[Path]:
    return [DOCS / "api" / f"{subject}.h" for subject in SUBJECTS]


def all_cards() -> List[Card]:
    return [card for path in card_headers() for card in cards_of(path.read_text(encoding="utf-8"))]


# ---- Markdown ---------------------------------------------------------------------------------------------

SPECIAL = {"\\": "\\\\", "@": "\\@", "<": "&lt;", ">": "&gt;", "&": "&amp;", '"': "&quot;", "#": "\\#", "%": "\\%",
           "$": "\\$", "*": "\\*", "_": "\\_", "`": "\\`", "[": "\\[", "]": "\\]", "(": "\\(", ")": "\\)", "|": "\\|"}

FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<body>.*?)^(?P=indent)```\n?", re.M | re.S)
TABLE = re.compile(r"^\|.*\n\|[-| :]+\|\n(?:\|.*(?:\n|\Z))*", re.M)
TOKEN = re.compile(r"""
    (?P<output>^@include\ (?P<run>\w+\.out)$)
  | (?P<command>^\ *[@\\](?:snippet|include|ref|image|page|if|endif|else|cond|endcond)\w*\b[^\n]*$)
  | (?P<heading>^(?P<level>\#+)\ (?P<words>.*?)(?:\ \{\#(?P<ident>\w+)\})?$)
  | (?P<code>(?<!`)(?P<ticks>`+)(?!`)(?P<body>(?:(?!\n\s*\n).)+?)(?<!`)(?P=ticks)(?!`))
  | \*\*(?P<strong>(?=\S)(?:(?!\n\s*\n|\*\*).)+?)\*\*
  | (?<![\w*])\*(?P<stressed>(?=[^\s*])(?:(?!\n\s*\n)[^*])+?)(?<=\S)\*(?![\w*])
  | (?P<image>!\[(?P<alternative>[^\]]*)\]\((?P<figure>[^)\s]+)\))
  | (?P<link>\[(?P<text>(?:[^\]\[`]|`[^`]*`)+)\]\((?P<url>[^)\s]+)\))
  | (?P<manual>\b(?P<topic>[A-Za-z_][\w.]*)\((?P<section>[1-8]|[03]p)\))
  | (?P<proof>\((?P<lab>\d\d)\ (?P<check>test_\w+)\))
  | (?P<comment><!--.*?-->)
  | (?P<hint><details>\s*<summary>(?P<title>.*?)</summary>)
  | (?P<end></details>)
  | (?P<dashes>(?<=\S)-{2,}(?=\S))
  | (?P<tag></?[a-z]+[^>\n]*>)
  | (?P<word>(?<![\w/.-])[A-Za-z_]\w{2,}\b(?:\(\))?)
""", re.M | re.S | re.X)


def literally(text: str) -> str:
    """Text that Doxygen shows as it is, whatever is in it."""
    done = "".join(SPECIAL.get(letter, letter) for letter in text)
    done = re.sub(r"-{2,}", lambda dashes: "\\--" * (len(dashes[0]) // 2) + "-" * (len(dashes[0]) % 2), done)
    return done.replace("::", "\\::")


def _raw(text: str) -> str:
    """HTML that Doxygen passes on untouched, on one line, so that it may stand in a list."""
    for letters, harmless in (("\n", "&#10;"), ("*/", "*&#47;"), ("/*", "&#47;*")):
        text = text.replace(letters, harmless)
    return f"@htmlonly[block]{text}@endhtmlonly"


def _slug(heading: str) -> str:
    """The anchor that code-hosting sites give to a heading, as far as Doxygen allows."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "_").replace("-", "_")


def _plain(text: str) -> str:
    """Text of a link or heading, where Doxygen knows no markup."""
    return " ".join(text.replace("`", "").replace("*", "").replace('"', "'").split())


def manual_page(topic: str, section: str) -> str:
    """Where a manual page is on the web. The sections 3p and 0p are POSIX: a function, a header."""
    if section in ("3p", "0p"):
        folder = "functions" if section == "3p" else "basedefs"
        return f"https://pubs.opengroup.org/onlinepubs/9799919799/{folder}/{topic.replace('/', '_')}.html"
    if re.match(r"pthread_(cond|mutex_(?!consistent))", topic):
        section = "3p"  # Linux has no page of its own for these
    return f"https://man7.org/linux/man-pages/man3/{topic}.{section}.html" if section == "3p" else (
        f"https://man7.org/linux/man-pages/man{section}/{topic}.{section}.html")


class Markdown:
    """Turns Markdown for people into Markdown for Doxygen. Knows the cards and which file is which page."""

    def __init__(self, cards: Sequence[Card], targets: Dict[Path, str]) -> None:
        self.cards = {card.name: card for card in cards}
        self.targets = targets

    def page(self, source: Path, ident: str) -> str:
        """The page made from one file."""
        return self.convert(source.read_text(encoding="utf-8"), source, ident)

    def convert(self, text: str, source: Path, ident: str) -> str:
        """Markdown that stands, or could stand, in the file `source`, as the page `ident`."""
        done, at, seen = [], 0, set()
        for fence in FENCE.finditer(text):
            done.append(self._prose(text[at:fence.start()], source, ident, seen))
            done.append(self._fence(fence))
            at = fence.end()
        done.append(self._prose(text[at:], source, ident, seen))
        return "".join(done)

    def _fence(self, fence: Match[str]) -> str:
        if fence["language"] == "c":
            return fence[0]
        body = re.sub(rf"^{fence['indent']}", "", fence["body"], flags=re.M)
        return fence["indent"] + self._block(fence["language"] or "text", body) + "\n"

    @staticmethod
    def _block(kind: str, text: str) -> str:
        shown = html.escape(text.rstrip("\n"), quote=False)
        if kind == "console":
            shown = re.sub(r"^([$#] )(.*)", r'<span class="prompt">\1</span><kbd>\2</kbd>', shown, flags=re.M)
        return _raw(f'<pre class="{kind}" tabindex="0">{shown}</pre>')

    def _prose(self, text: str, source: Path, ident: str, seen: set) -> str:
        done, at = [], 0
        for table in TABLE.finditer(text):
            done.append(self._inline(text[at:table.start()], source, ident, seen))
            done.append(self._table(table[0], source, ident, seen))
            at = table.end()
        done.append(self._inline(text[at:], source, ident, seen))
        return "".join(done)

    def _table(self, text: str, source: Path, ident: str, seen: set) -> str:
        rows = []
        for number, line in enumerate(text.splitlines()):
            if number == 1:
                continue
            cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip()[1:-1])]
            shown = [self._inline(cell, source, ident, seen) for cell in cells]
            kind = ["th" if number == 0 else "td"] * len(cells)
            rows.append("<tr>" + "".join(f"<{k}>{c}</{k}>" for k, c in zip(kind, shown)) + "</tr>")
        return '<table class="markdownTable">\n' + "\n".join(rows) + "\n</table>\n"

    def _inline(self, text: str, source: Path, ident: str, seen: set) -> str:
        def turn(token: Match[str]) -> str:
            if token["output"]:
                path = DOCS / "examples" / token["run"]
                if not path.is_file():
                    raise UserError(f"{source.relative_to(ROOT)} includes {token['run']}, which is not there")
                return self._block("console", path.read_text(encoding="utf-8"))
            if token["heading"]:
                return self._heading(token, ident, seen)
            if token["code"]:
                return self.code(token["body"])
            if token["strong"] or token["stressed"]:
                tag, inside = ("b", token["strong"]) if token["strong"] else ("em", token["stressed"])
                return f"<{tag}>{TOKEN.sub(turn, inside)}</{tag}>"
            if token["image"]:
                return self._figure(token, source)
            if token["link"]:
                return self._link(token["text"], token["url"], source, ident)
            if token["manual"]:
                name = "POSIX: " + token["topic"].replace("sys_", "sys/") if token["section"].endswith("p") else token["manual"]
                return f"[{name}]({manual_page(token['topic'], token['section'])})"
            if token["proof"]:
                return f'<small>(@ref lab_{token["lab"]} "{token["lab"]}" {literally(token["check"])})</small>'
            if token["hint"]:
                return _raw(f"<details><summary>{html.escape(token['title'], quote=False)}</summary>")
            if token["end"]:
                return _raw(token["end"])
            if token["comment"]:
                return ""
            if token["dashes"]:
                return literally(token["dashes"])
            return self._word(token["word"]) if token["word"] else token[0]

        return TOKEN.sub(turn, text)

    def _heading(self, token: Match[str], ident: str, seen: set) -> str:
        words = _plain(token["words"])
        level = len(token["level"])
        if level == 1:
            return f"# {words} {{#mainpage}}" if ident == WELCOME else f"# {words} {{#{ident}}}\n\n[TOC]"
        label = token["ident"] or f"{ident}_{_slug(words)}"
        while label in seen:
            label += "_"
        seen.add(label)
        if ident == WELCOME:  # Doxygen would put the sections of this page into the side bar
            return f"@anchor {label}\n<h{level - 1}>{words}</h{level - 1}>"
        return f"{token['level']} {words} {{#{label}}}"

    def code(self, body: str) -> str:
        """A code span, in which every name that has a card is a link to it."""
        body = re.sub(r"\s*\n\s*", " ", body)
        if body.startswith(" ") and body.endswith(" ") and body.strip():
            body = body[1:-1]
        parts = re.split(r"((?<![\w/.-])[A-Za-z_]\w*)", body)
        shown = [f'@ref {self.cards[part].reference} "{part}"' if part in self.cards else literally(part) for part in parts]
        return "<code>" + "".join(shown) + "</code>"

    def _word(self, word: str) -> str:
        name = word[:-2] if word.endswith("()") else word
        if name in self.cards and (word != name or name not in WORDS) and self.cards[name].kind != "field":
            return f'@ref {self.cards[name].reference} "{word}"'
        return word

    def _link(self, text: str, url: str, source: Path, ident: str) -> str:
        if re.match(r"[a-z]+:", url):
            return f"[{text}]({url})"
        name, _, anchor = url.partition("#")
        path = Path(os.path.normpath(source.parent / name)) if name else source
        target = self.targets.get(path, ident if not name else "")
        if not target:
            if not path.exists():
                raise UserError(f"{source.relative_to(ROOT)} links to {url}, which is not there")
            return self.code(_plain(text))  # a file that is not part of the site
        if anchor:
            target += "_" + _slug(anchor)
        reference = f'@ref {target} "{_plain(text)}"'
        return f"<code>{reference}</code>" if re.fullmatch(r"`[^`]*`", text) else reference

    def _figure(self, token: Match[str], source: Path) -> str:
        path = source.parent / token["figure"]
        if not path.is_file():
            raise UserError(f"{source.relative_to(ROOT)} shows {token['figure']}, which is not there")
        if path.suffix != ".svg":
            return token[0]
        drawing = re.sub(r"<\?xml.*?\?>\s*|<!--.*?-->\s*", "", path.read_text(encoding="utf-8"), flags=re.S)
        return _raw(f'<figure>{drawing.strip()}</figure>')


# ---- pages that are made ------------------------------------------------------------------------------------

# What one sees. A mistake stands under the first heading whose words are in its "Seen as"; the last one takes what is left.
SYMPTOMS = (
    ("I get SIGBUS", r"SIGBUS"),
    ("I get SIGSEGV, or another signal kills the program", r"SIGSEGV|SIGFPE|killed without a word|and die,"),
    ("It hangs", r"for ever|never (ends|comes back|woken)|waits? (for|beside)|sleeps on|stand still|not woken|No sleeper"
                 r"|not recoverable|Owner died|can (ever )?lock|nothing at all|nobody posts"),
    ("It is slow, or uses a whole processor", r"processor|tenth of a second|hundred times|thousand times|millisecond"),
    ("The name or the key is taken", r"File exists|taken:|(name|key) (stays )?taken|in use|already is a|stumbles|name taken"),
    ("Something is left behind", r"\bleft\b|\bstays?\b|still (listed|in maps|among|there|in use)|defunct|one more"
                                 r"|at its end|given back|grows by|an? new file|attached"),
    ("It is gone, or nobody finds it", r"shows nothing after|finds? (no segment|nothing)|(is|long) gone|alone with|key 0x0"
                                       r"|hand(ed|s) over|get together"),
    ("Permission denied, or too much permission", r"[Pp]ermission|perms|umask|mode|any user|may only be read|cannot be "
                                                 r"(opened|removed)|rw-s"),
    ("The other process does not see it", r"r--p|rw-p|private|shared word|never (shar|sees|has TEXT)|would ever share"
                                          r"|total is 0|zero bytes?\.$|holds OLD|does not appear|has changed the heap"),
    ("Something of somebody else's is overwritten", r"overwrit|takes the (first one's )?place|another office|once more while"
                                                    r"|would change|changes the file"),
    ("It fails, and says that all went well", r"exit status|unnoticed|not noticed|all went well|without a word|passes for"
                                              r"|counts as|as if all|that all|never hears|not told|died of|whatever"
                                              r"|seems to be|succeeds?\b|although a child|after the child"),
    ("It takes what it should refuse", r"is taken|are taken|\b3x\b|says nothing about|believe|is printed\.|far outside"),
    ("It refuses what it should take", r"refused|Invalid argument|EINVAL|is (an error|a failure)|complains|Interrupted"
                                       r"|not as cat|works in one order|status 2"),
    ("Numbers do not add up", r"total|lose|\blost\b|number|money|said to|every answer|ticket|paid|takes back|swapped|count"
                              r"|wrong balance"),
    ("The size is wrong", r"\bsize|4096|longer than|shorter than|too small|100 bytes|cost 60|maps 60"),
    ("Bytes are missing, wrong or in the wrong order", r"bytes?\b|letter|cut|missing|arrives|torn|order|halves?|hello|nonsense"
                                                       r"|first word|twice|od -c|printed|reading without|disk"),
    ("It looks right, and is not", ""),
)


def _parts() -> List[Tuple[str, List[Lab]]]:
    """The parts of the course and their labs, from the table in the README."""
    labs = {lab.name: lab for lab in all_labs()}
    parts = []
    for title, links in re.findall(r"^\| (\d\. [^|]+?) \| (.*labs/.*) \|$", (ROOT / "README.md").read_text(), re.M):
        parts.append((f"Part {title}", [labs[name] for name in re.findall(r"labs/(\w+)/README\.md", links)]))
    return parts


def _sources(lab: Lab) -> List[Path]:
    """A lab's unfinished programs and what is given with them."""
    return sorted(path for path in lab.folder.glob("*.[ch]"))


def _handouts(markdown: Markdown) -> Page:
    """The handouts, each with its programs below it, and a page that lists them by part."""
    listed = Page(HANDOUTS, "The handouts", label="Handouts")
    text = ["# The handouts\n"]
    for number, (title, labs) in enumerate(_parts(), 1):
        part = Page(f"{HANDOUTS}_part_{number}", title)
        text.append(f"\n## {title} {{#{part.ident}}}\n")
        for lab in labs:
            ident = f"lab_{lab.number}"
            files = [Page(path.relative_to(ROOT).as_posix(), path.name) for path in _sources(lab)]
            part.below.append(Page(ident, lab.title, _handout(lab, markdown, ident), f"{lab.number} {lab.title}", files))
            text.append(f"- [Lab {lab.number}: {lab.title}](../labs/{lab.name}/README.md). {lab.section('Goal')}\n")
        listed.below.append(part)
    listed.text = markdown.convert("".join(text), DOCS / "handouts.md", HANDOUTS)
    return listed


def _handout(lab: Lab, markdown: Markdown, ident: str) -> str:
    programs = " \u00b7 ".join(f"[{path.name}]({path.name})" for path in _sources(lab))
    text = lab.handout.replace("\n", f"\n\nTo finish: {programs}\n", 1)
    return markdown.convert(text, lab.folder / "README.md", ident)


def symptom_of(mistake: gallery.Exhibit) -> str:
    """The heading under which somebody who has made this mistake would look for it."""
    return next(title for title, pattern in SYMPTOMS if re.search(pattern, mistake.seen_as))


def _common_mistakes(markdown: Markdown) -> Page:
    """The mistakes by what one sees of them. Their patches stay where they are: they hold lines of the solutions."""
    text = ["# Common mistakes\n\n",
            "All of these programs have been written, and a check catches each. Look for what you see; what stands below "
            "it in italics is how it came about.\n"]
    for title, _ in SYMPTOMS:
        text.append(f"\n## {title}\n\n")
        for mistake in gallery.mistakes():
            if symptom_of(mistake) == title:
                where = f"[lab {mistake.lab.number}](../labs/{mistake.lab.name}/README.md)"
                text.append(f"- {mistake.seen_as}<br><em>{mistake.title}</em> ({where})\n")
    return Page(MISTAKES, "Common mistakes", markdown.convert("".join(text), DOCS / "mistakes.md", MISTAKES))


def _uses(name: str) -> str:
    """The labs whose handout or unfinished program mentions a name, as links."""
    word = re.compile(rf"\b{re.escape(name)}\b")
    labs = [lab for lab in all_labs()
            if word.search(lab.handout) or any(word.search(path.read_text()) for path in _sources(lab))]
    return ", ".join(f'@ref lab_{lab.number} "{lab.number}"' for lab in labs)


def _card_header(header: str, markdown: Markdown, source: Path) -> str:
    """A header of cards as Doxygen gets it: names are links, and each card says which labs use what it is about."""
    def card(match: Match[str]) -> str:
        kind, name = _declared(match["line"])
        others = Markdown([other for other in markdown.cards.values() if other.name != name], markdown.targets)
        text = "\n".join(line[3:] for line in match["comment"].splitlines())
        lines = others.convert(text, source, source.stem).splitlines()
        uses = _uses(name) if kind else ""
        if uses:
            lines += ["", "@par Labs", uses]
        return "/**\n" + "".join(f" * {line}".rstrip() + "\n" for line in lines) + " */\n" + match["line"]

    def text_of_field(match: Match[str]) -> str:
        return match[0].replace(match["text"], markdown.convert(match["text"], source, source.stem))

    return FIELD.sub(text_of_field, DOCUMENTED.sub(card, header))


def _card_pages(markdown: Markdown) -> Page:
    """All cards in one list, with the groups below it."""
    text = ["# API cards\n\n",
            "What the labs' programs call, what these calls give and how they fail. The search box finds every name.\n"]
    page = Page(CARDS, "API cards")
    for path in card_headers():
        header = path.read_text(encoding="utf-8")
        group, title = re.search(r"@defgroup (\w+) (.*)", header).groups()
        page.below.append(Page(group, title))
        text.append(f'\n## {title}\n\n| card | in a sentence |\n|---|---|\n')
        text += [f"| `{card.name}` | {card.brief} |\n" for card in cards_of(header) if card.kind != "field"]
    page.text = markdown.convert("".join(text), DOCS / "api.md", CARDS)
    return page


def _solved(lab: Lab, markdown: Markdown) -> Page:
    """For the instructor: a lab's solution, what its checks ask, and the mistakes that they catch."""
    ident = f"solution_{lab.number}"
    text = [f"# Solution of lab {lab.number}: {lab.title}\n\nThe handout: [lab {lab.number}](../labs/{lab.name}/README.md).\n"]
    checks = re.findall(r'^@points\((\d+).*?\)\ndef (test_\w+)\(lab\):\n    """(.*?)(?:\n\n|""")',
                        (CHECKS / f"test_{lab.name}.py").read_text(encoding="utf-8"), re.M | re.S)
    text.append("\n## Grading\n\n| points | check | what it asks |\n|---|---|---|\n")
    text += [f"| {points} | `{name}` | {' '.join(sentence.split())} |\n" for points, name, sentence in checks]
    text.append("\n## Known mistakes\n")
    for mistake in gallery.mistakes():
        if mistake.lab == lab:
            patch = mistake.path.read_text(encoding="utf-8")
            text.append(f"\n<details><summary>{mistake.name}: {mistake.title}</summary>\n\n{mistake.seen_as} Caught by "
                        + ", ".join(f"`{name}`" for name in mistake.caught_by)
                        + ".\n\n```diff\n" + patch[patch.index("--- "):] + "```\n\n</details>\n")
    made = markdown.convert("".join(text), SOLUTIONS / "solutions.md", ident)
    for path in sorted((SOLUTIONS / lab.name).glob("*.[ch]")):
        made += f"\n## {path.name} {{#{ident}_{path.stem}_{path.suffix[1:]}}}\n\n@include {path.relative_to(ROOT)}\n"
    return Page(ident, lab.title, made, f"{lab.number} {lab.title}")


def _solutions(markdown: Markdown) -> Page:
    labs = all_labs()
    text = "# Solutions and grading\n\n" + "".join(
        f"- @ref solution_{lab.number} \"{lab.number} {lab.title}\"\n" for lab in labs)
    return Page(SOLVED, "Solutions and grading", text.replace("# S", "# S", 1).replace(
        "grading\n", "grading {#solutions}\n", 1), below=[_solved(lab, markdown) for lab in labs])


# ---- the site ---------------------------------------------------------------------------------------------


def _written(word: str, markdown: Markdown) -> Page:
    path = ROOT / "README.md" if word == README else DOCS / f"{word}.md"
    text = path.read_text(encoding="utf-8")
    title = _plain(re.match(r"# (.*?)(?: \{#\w+\})?\n", text)[1])
    return Page(word, title, markdown.page(path, word), LABELS.get(word, ""))


def site(instructor: bool) -> List[Page]:
    """The pages of one edition, in reading order."""
    targets = {DOCS / f"{word}.md": "index" if word == WELCOME else word for word in READING_ORDER}
    targets.update({ROOT / "README.md": README, MISTAKES_FOLDER: MISTAKES, DOCS / "api": CARDS})
    targets.update({path: path.relative_to(ROOT).as_posix() for path in sorted((DOCS / "examples").glob("*.c"))})
    for lab in all_labs():
        targets[lab.folder / "README.md"] = targets[lab.folder] = f"lab_{lab.number}"
        targets.update({path: path.relative_to(ROOT).as_posix() for path in _sources(lab)})
    markdown = Markdown(all_cards(), targets)
    made = {HANDOUTS: _handouts, MISTAKES: _common_mistakes, CARDS: _card_pages, SOLVED: _solutions}
    pages = [made[word](markdown) if word in made else _written(word, markdown)
             for word in READING_ORDER if word != SOLVED or instructor]
    pages[1].below.append(_written(README, markdown))
    return pages


def _listings() -> str:
    """The text of each unfinished program and example, for the page that Doxygen makes from its comments."""
    paths = [path for lab in all_labs() for path in _sources(lab)] + sorted((DOCS / "examples").glob("*.c"))
    return "\n".join(f"/**\n * @file {path}\n * @par The file\n * @include{{lineno}} {path}\n */"
                     for path in (path.relative_to(ROOT).as_posix() for path in paths))


def _layout(pages: Sequence[Page]) -> str:
    """The side bar. Doxygen's own order would put pages, cards and files into three separate trees."""
    def entries(some: Sequence[Page], indent: str) -> Iterator[str]:
        for page in some:
            kind = "usergroup" if page.below else "user"
            words = html.escape(page.label or page.title)
            yield f'{indent}<tab type="{kind}" visible="yes" url="@ref {page.ident}" title="{words}"'
            if page.below:
                yield from [">\n", *entries(page.below, indent + "  "), f"{indent}</tab>\n"]
            else:
                yield "/>\n"

    welcome = '    <tab type="mainpage" visible="yes" title="Welcome"/>\n'
    return ('<doxygenlayout version="1.0">\n  <navindex>\n' + welcome
            + "".join(entries([page for page in pages if page.ident != WELCOME], "    "))
            + "  </navindex>\n</doxygenlayout>\n")


def _add_turns(pages: Sequence[Page]) -> None:
    """Adds to each page the way to the one before and the one after it."""
    order = [page for page in flat(pages) if page.text]
    for before, page, after in zip([None, *order], order, [*order[1:], None]):
        ways = [f'<a href="{"index" if other.ident == WELCOME else other.ident}.html">{word}: '
                f'{html.escape(other.label or other.title)}</a>'
                for other, word in ((before, "Before"), (after, "Next")) if other]
        page.text += f'\n{_raw("<nav class=turn aria-label=Pages>" + " ".join(ways) + "</nav>")}\n'


def _listings() -> str:
    """The text of each unfinished program and example, for the page that Doxygen makes from its comments."""
    paths = [path for lab in all_labs() for path in _sources(lab)] + sorted((DOCS / "examples").glob("*.c"))
    return "\n".join(f"/**\n * @file {path}\n * @par The file\n * @include{{lineno}} {path}\n */"
                     for path in (path.relative_to(ROOT).as_posix() for path in paths))


def _layout(pages: Sequence[Page]) -> str:
    """The side bar. Doxygen's own order would put pages, cards and files into three separate trees."""
    def entries(some: Sequence[Page], indent: str) -> Iterator[str]:
        for page in some:
            kind = "usergroup" if page.below else "user"
            words = html.escape(page.label or page.title)
            yield f'{indent}<tab type="{kind}" visible="yes" url="@ref {page.ident}" title="{words}"'
            if page.below:
                yield from [">\n", *entries(page.below, indent + "  "), f"{indent}</tab>\n"]
            else:
                yield "/>\n"

    welcome = '    <tab type="mainpage" visible="yes" title="Welcome"/>\n'
    return ('<doxygenlayout version="1.0">\n  <navindex>\n' + welcome
            + "".join(entries([page for page in pages if page.ident != WELCOME], "    "))
            + "  </navindex>\n</doxygenlayout>\n")


def _reference(page: Page) -> str:
    return "index" if page.ident == WELCOME else page.ident


def _add_turns(pages: Sequence[Page]) -> None:
    """Adds to each page the way to the one before and the one after it."""
    order = [page for page in flat(pages) if page.text]
    for before, page, after in zip([None, *order], order, [*order[1:], None]):
        ways = [f'@ref {_reference(other)} "{word}: {_plain(other.label or other.title)}"'
                for other, word in ((before, "Before"), (after, "Next")) if other]
        page.text += f'\n<div class="turn">\n{"<br>".join(ways)}\n</div>\n'


def _write_header(folder: Path) -> None:
    """Doxygen's own page header with our script in it; a header of one version breaks another, so none is kept."""
    subprocess.run(["doxygen", "-w", "html", "header.html", "footer.html", "style.css"], cwd=folder, check=True,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    text = (folder / "header.html").read_text(encoding="utf-8")
    text = re.sub(r'<html ([^>]*?)(?: lang="[^"]*")?>', r'<html \1 lang="en">', text, count=1)
    text = text.replace("</head>", '<script type="text/javascript" src="$relpath^lab.js"></script>\n</head>')
    (folder / "header.html").write_text(text, encoding="utf-8")


def _settings(folder: Path, output: Path, theme: bool) -> List[str]:
    """What depends on this machine and on the edition: folders, the version of Doxygen, whether the theme is installed."""
    version = subprocess.run(["doxygen", "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout
    can_be_dark = tuple(int(part) for part in re.findall(r"\d+", version)[:3]) >= (1, 9, 5)
    sheets = [THEME_PACKAGE / f"doxygen-awesome{name}.css" for name in ("", "-sidebar-only")]
    themed = theme and all(sheet.is_file() for sheet in sheets)
    ours = ["lab", *([] if themed else ["plain"]), *(["dark"] if themed or can_be_dark else [])]
    sheets = (sheets if themed else []) + [DOCS / "theme" / f"{name}.css" for name in ours]
    return [f"INPUT = labs docs/examples {folder}", f"OUTPUT_DIRECTORY = {output}",
            f"LAYOUT_FILE = {folder / 'layout.xml'}", f"HTML_HEADER = {folder / 'header.html'}",
            "HTML_EXTRA_STYLESHEET = " + " ".join(map(str, sheets)),
            *([f"HTML_COLORSTYLE = {'LIGHT' if themed else 'AUTO_LIGHT'}"] if can_be_dark else [])]


def _write_sources(folder: Path, instructor: bool) -> None:
    """Writes all that Doxygen reads, but for the programs, into an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "pages").mkdir(parents=True)
    (folder / "api").mkdir()
    pages = site(instructor)
    _add_turns(pages)
    for page in flat(pages):
        if page.text:
            (folder / "pages" / f"{page.ident}.md").write_text(page.text, encoding="utf-8")
    markdown = Markdown(all_cards(), {})
    for path in card_headers():
        (folder / "api" / path.name).write_text(_card_header(path.read_text(encoding="utf-8"), markdown, path),
                                                encoding="utf-8")
    (folder / "listings.dox").write_text(_listings(), encoding="utf-8")
    (folder / "layout.xml").write_text(_layout(pages), encoding="utf-8")
    _write_header(folder)


def build(output: Path, instructor: bool = False, theme: bool = True) -> "subprocess.CompletedProcess[str]":
    """Makes one edition in a folder; what it is made of goes to another beside it. Doxygen's result has its complaints."""
    folder = output.with_name(output.name + "-src")
    _write_sources(folder, instructor)
    shutil.rmtree(output, ignore_errors=True)
    settings = [f"@INCLUDE = {'docs/instructor.doxy' if instructor else 'Doxyfile'}", *_settings(folder, output, theme)]
    return subprocess.run(["doxygen", "-"], cwd=ROOT, input="\n".join(settings) + "\n", text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def main(instructor: bool) -> int:
    """Makes one edition in build/docs or build/docs-instructor."""
    output = ROOT / "build" / ("docs-instructor" if instructor else "docs")
    done = build(output, instructor)
    print(done.stdout, end="", file=sys.stderr)
    if done.returncode == 0:
        print(f"{os.path.relpath(output)}/index.html")
    return 1 if done.returncode else 0
