"""Converts Markdown and the comments of C files to a form that Doxygen 1.9.4 renders correctly.

Doxygen would split the hints, miss links between directories, lose emphasis and `|` next to code, and not link calls
inside code spans. This module writes these in a form that works, and links each name that has an API card.
"""
from __future__ import annotations

import html
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Iterable, List, Mapping, Match, Pattern, Sequence, Set, Tuple

from ..labs import ROOT, UserError
from . import play

# ---- cards ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Card:
    """What docs/api/ says about one call, constant, type or field."""

    name: str
    kind: str
    brief: str
    reference: str  # the name in Doxygen's @ref


# Names that are also English words. Such a call is linked only where it is marked as code; such a field has no card.
AMBIGUOUS_NAMES = {"accept", "address", "bind", "close", "connect", "dev", "fork", "gid", "inode", "key", "kill", "link",
                   "listen", "mode", "offset", "open", "path", "perms", "rss", "shmid", "size", "socket", "swap", "uid",
                   "unlink"}

DECLARATIONS = (("constant", r"#define (\w+)"), ("struct", r"struct (\w+)\s*\{"),
                ("type", r"typedef .*?\b(\w+);"), ("call", r"[\w ]+[\s*]+(\w+)\("))
DOCUMENTED = re.compile(r"/\*\*\n(?P<comment>(?:[ ]\*.*\n)*?)[ ]\*/\n(?P<line>[^\n]*)")
FIELD = re.compile(r"\b(?P<name>\w+)(?:\[\d+\])?;\s*/\*\*< (?P<text>.*?) \*/")


def declared(line: str) -> Tuple[str, str]:
    """Returns the kind and the name of what a line of C declares, or two empty strings."""
    for kind, pattern in DECLARATIONS:
        found = re.match(pattern, line)
        if found:
            return kind, found[1]
    return "", ""


def cards_of(header: str) -> List[Card]:
    """Returns the cards of one header, in its order. Fields have cards too, unless their name is an English word."""
    cards = []
    for match in DOCUMENTED.finditer(header):
        kind, name = declared(match["line"])
        brief = re.search(r"@brief (.*?)(?=\n \*\n|\n \* @|\Z)", match["comment"].rstrip(), re.S)
        if kind and brief:
            cards.append(Card(name, kind, re.sub(r"\s*\n \*\s*", " ", brief[1]), name))
        if kind == "struct":
            body = header[match.end():header.index("};", match.end())]
            cards += [Card(found["name"], "field", found["text"], f"{name}.{found['name']}")
                      for found in FIELD.finditer(body) if found["name"] not in AMBIGUOUS_NAMES]
    return cards


# ---- text -------------------------------------------------------------------------------------------------

ESCAPES = {"\\": "\\\\", "@": "\\@", "<": "&lt;", ">": "&gt;", "&": "&amp;", '"': "&quot;", "#": "\\#", "%": "\\%",
           "$": "\\$", "*": "\\*", "_": "\\_", "`": "\\`", "[": "\\[", "]": "\\]", "(": "\\(", ")": "\\)", "|": "\\|"}


def escape(text: str) -> str:
    """Escapes text so that Doxygen shows it unchanged."""
    done = "".join(ESCAPES.get(letter, letter) for letter in text)
    done = re.sub("-{2,}", lambda dashes: "\\--" * (len(dashes[0]) // 2) + "-" * (len(dashes[0]) % 2), done)
    return done.replace("::", "\\::")


def raw(text: str) -> str:
    """Marks HTML so that Doxygen copies it unchanged; on one line, so that it can be in a list."""
    for letters, harmless in (("\n", "&#10;"), ("*/", "*&#47;"), ("/*", "&#47;*")):
        text = text.replace(letters, harmless)
    return f"@htmlonly[block]{text}@endhtmlonly"


def plain(text: str) -> str:
    """Removes the markup from the text of a link or heading, where Doxygen would show it literally."""
    return " ".join(text.replace("`", "").replace("*", "").replace('"', "'").split())


def slug(heading: str) -> str:
    """Returns the anchor that code-hosting sites give to a heading, in characters that Doxygen accepts."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "_").replace("-", "_")


def block(kind: str, text: str) -> str:
    """Converts a fenced block that is not C, such as a terminal session, to HTML."""
    shown = html.escape(text.rstrip("\n"), quote=False)
    if kind == "console":
        # With a space that does not break, a long command does not leave its prompt alone on a line.
        shown = re.sub(r"^([$#]) (.*)", r'<span class="prompt">\1&#160;</span><kbd>\2</kbd>', shown, flags=re.M)
    return raw(f'<pre class="{kind}">{shown}</pre>')


def manual_page(topic: str, section: str) -> str:
    """Returns the URL of a manual page. Sections 3p and 0p are POSIX's functions and headers."""
    if section.endswith("p"):
        directory = "functions" if section == "3p" else "basedefs"
        return f"https://pubs.opengroup.org/onlinepubs/9799919799/{directory}/{topic}.html"
    if re.match(r"pthread_(cond|mutex_(?!consistent))", topic):
        section = "3p"  # the Linux man-pages have none for these; the site has a copy of POSIX's
    return f"https://man7.org/linux/man-pages/man{section[0]}/{topic}.{section}.html"


# ---- Markdown ---------------------------------------------------------------------------------------------

FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<body>.*?)^(?P=indent)```\n?", re.M | re.S)
TABLE = re.compile(r"^(?P<indent> *)\|.*\n *\|[-| :]+\|\n(?: *\|.*(?:\n|\Z))*", re.M)
TOKEN = re.compile(r"""
    (?P<output>   ^@include\ (?P<file>\w+\.out)$ )
  | (?P<command>  ^\ *[@\\](?:snippet|include|ref|image|page|defgroup|if|endif|else|cond|endcond)\w*\b[^\n]*$ )
  | (?P<heading>  ^(?P<level>\#+)\ (?P<words>.*?)(?:\ \{\#(?P<label>\w+)\})?$ )
  | (?P<code>     (?<!`)(?P<ticks>`+)(?!`)(?P<body>(?:(?!\n\s*\n).)+?)(?<!`)(?P=ticks)(?!`) )
  | \*\*(?P<strong> (?=\S)(?:(?!\n\s*\n|\*\*).)+? )\*\*
  | (?<![\w*])\*(?P<emphasis> (?=[^\s*])(?:(?!\n\s*\n)[^*])+? )(?<=\S)\*(?![\w*])
  | (?P<figure>   !\[[^\]]*\]\((?P<path>[^)\s]+)\) )
  | (?P<link>     \[(?P<text>(?:[^\]\[`]|`[^`]*`)+)\]\((?P<url>[^)\s]+)\) )
  | (?P<manual>   \b(?P<topic>[A-Za-z_][\w.]*)\((?P<section>[1-8]|[03]p)\) )
  | (?P<checkref> \((?P<lab>\d\d)\ (?P<check>test_\w+)\) )
  | (?P<play>     <!--\ play:\ (?P<controls>\w+)\ --> )
  | (?P<comment>  <!--.*?--> )
  | (?P<hint>     <details>\s*<summary>(?P<title>.*?)</summary> )
  | (?P<end>      </details> )
  | (?P<verbatim> (?<=\S)-{2,}(?=\S) | %+ )
  | (?P<tag>      </?[a-z]+[^>\n]*> )
  | (?P<word>     (?<![\w/.-])[A-Za-z_]\w{2,}\b(?:\(\))? )
""", re.M | re.S | re.X)


@dataclass(frozen=True)
class Markup:
    """Converts texts, with the cards and the pages that links can lead to."""

    cards: Dict[str, Card]
    targets: Dict[Path, str]

    def convert(self, text: str, source: Path, ident: str, home: str = "") -> str:
        """Converts Markdown for the page `ident`. Links are relative to the file `source`, which need not exist."""
        return _Conversion(self, source, ident, ident == home).run(text)

    def without(self, name: str) -> "Markup":
        """Returns a copy without one card, so that the card's own text does not link to itself."""
        return Markup({other: card for other, card in self.cards.items() if other != name}, self.targets)


def _replace(pattern: Pattern[str], found: Callable[[Match[str]], str], text: str,
             rest: Callable[[str], str]) -> str:
    """Converts each match of a pattern with `found` and the text between the matches with `rest`."""
    done, at = [], 0
    for match in pattern.finditer(text):
        done += [rest(text[at:match.start()]), found(match)]
        at = match.end()
    return "".join([*done, rest(text[at:])])


class _Conversion:
    """Converts one text. For each named alternative of TOKEN there is a method with that name and an underscore."""

    def __init__(self, markup: Markup, source: Path, ident: str, is_home: bool) -> None:
        self.cards, self.targets = markup.cards, markup.targets
        self.source, self.ident, self.is_home = source, ident, is_home
        self.labels: Set[str] = set()
        self.sections = 0

    def run(self, text: str) -> str:
        def prose(part: str) -> str:
            return _replace(TABLE, self._table, part, self._inline)

        text = text.replace(play.STORIES_HERE, play.words()) if play.STORIES_HERE in text else text
        has_controls = "<!-- play: " in text  # which come first on their page: no table of contents
        self.sections = 0 if has_controls else len(re.findall("^## ", FENCE.sub("", text), re.M))
        return _replace(FENCE, self._fence, text, prose)

    def _fence(self, fence: Match[str]) -> str:
        if fence["language"] == "c":
            return fence[0]
        body = re.sub(rf"^{fence['indent']}", "", fence["body"], flags=re.M)
        return fence["indent"] + block(fence["language"] or "text", body) + "\n"

    def _table(self, table: Match[str]) -> str:
        rows, named = [], " named" if re.match(r" *\| *\|", table[0]) else ""
        for number, line in enumerate(table[0].splitlines()):
            cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip()[1:-1])]
            if number != 1:
                tags = ["th" if cell and (not number or named and not at) else "td" for at, cell in enumerate(cells)]
                row = "".join(f"<{tag}>{self._inline(cell)}</{tag}>" for tag, cell in zip(tags, cells))
                rows.append(f"<tr>{row}</tr>")
        lines = [f'<table class="markdownTable{named}">', *rows, "</table>"]
        return "".join(f"{table['indent']}{line}\n" for line in lines)

    def _inline(self, text: str) -> str:
        return TOKEN.sub(lambda token: str(getattr(self, f"_{token.lastgroup}")(token)), text)

    def _fail(self, what: str) -> UserError:
        return UserError(f"{self.source.relative_to(ROOT)} {what}, which does not exist")

    def _command(self, token: Match[str]) -> str:
        return token[0]

    def _tag(self, token: Match[str]) -> str:
        return raw(token[0]) if "div" in token[0] else token[0]  # Doxygen would end a div with each paragraph in it

    def _output(self, token: Match[str]) -> str:
        path = ROOT / "docs" / "examples" / token["file"]
        if not path.is_file():
            raise self._fail(f"includes {token['file']}")
        return block("console", path.read_text(encoding="utf-8"))

    def _heading(self, token: Match[str]) -> str:
        words, level = plain(token["words"]), len(token["level"])
        if level == 1:
            contents = "\n\n[TOC]" if self.sections > 1 else ""
            return f"# {words} {{#mainpage}}" if self.is_home else f"# {words} {{#{self.ident}}}{contents}"
        label = token["label"] or f"{self.ident}_{slug(words)}"
        while label in self.labels:
            label += "_"
        self.labels.add(label)
        if self.is_home:  # with "##" Doxygen would list this page's sections in the side bar
            return f"@anchor {label}\n<h{level - 1}>{words}</h{level - 1}>"
        return f"{token['level']} {words} {{#{label}}}"

    def _code(self, token: Match[str]) -> str:
        return self._as_code(token["body"])

    def _as_code(self, body: str) -> str:
        body = re.sub(r"\s*\n\s*", " ", body)
        if body.startswith(" ") and body.endswith(" ") and body.strip():
            body = body[1:-1]
        parts = re.split(r"((?<![\w/.-])[A-Za-z_]\w*)", body)
        return "<code>" + "".join(self._reference(part, part) or escape(part) for part in parts) + "</code>"

    def _reference(self, name: str, text: str) -> str:
        return f'@ref {self.cards[name].reference} "{text}"' if name in self.cards else ""

    def _strong(self, token: Match[str]) -> str:
        return f"<b>{self._inline(token['strong'])}</b>"

    def _emphasis(self, token: Match[str]) -> str:
        return f"<em>{self._inline(token['emphasis'])}</em>"

    def _figure(self, token: Match[str]) -> str:
        path = self.source.parent / token["path"]
        if not path.is_file():
            raise self._fail(f"shows {token['path']}")
        drawing = re.sub(r"<\?xml.*?\?>\s*|<!--.*?-->\s*", "", path.read_text(encoding="utf-8"), flags=re.S)
        return raw(f"<figure>{drawing.strip()}</figure>")

    def _link(self, token: Match[str]) -> str:
        text, url = token["text"], token["url"]
        if re.match("[a-z]+:", url):
            return f"[{text}]({url})"
        name, _, anchor = url.partition("#")
        path = Path(os.path.normpath(self.source.parent / name)) if name else self.source
        target = self.targets.get(path, "" if name else self.ident)
        if not target:
            if not path.exists():
                raise self._fail(f"links to {url}")
            return self._as_code(plain(text))  # a file that is not part of the site
        reference = f'@ref {target}{"_" + slug(anchor) if anchor else ""} "{plain(text)}"'
        return f"<code>{reference}</code>" if re.fullmatch("`[^`]*`", text) else reference

    def _manual(self, token: Match[str]) -> str:
        posix = token["section"].endswith("p")
        name = "POSIX: " + token["topic"].replace("sys_", "sys/") if posix else token[0]
        return f"[{name}]({manual_page(token['topic'], token['section'])})"

    def _checkref(self, token: Match[str]) -> str:
        check = token["check"].replace("_", "_<wbr>")  # a narrow cell may break the name after each underscore
        return f'<small>(@ref lab_{token["lab"]} "{token["lab"]}"@htmlonly {check})@endhtmlonly</small>'

    def _play(self, token: Match[str]) -> str:
        return raw(play.controls(token["controls"]))

    def _comment(self, _: Match[str]) -> str:
        return ""

    def _hint(self, token: Match[str]) -> str:
        return raw(f"<details><summary>{html.escape(token['title'], quote=False)}</summary>")

    def _end(self, token: Match[str]) -> str:
        return raw(token[0])

    def _verbatim(self, token: Match[str]) -> str:
        return escape(token[0])

    def _word(self, token: Match[str]) -> str:
        word = token[0]
        name = word[:-2] if word.endswith("()") else word
        card = self.cards.get(name)
        is_name = card and card.kind != "field" and (word != name or name not in AMBIGUOUS_NAMES)
        return self._reference(name, word) if is_name else word


# ---- comments of C ----------------------------------------------------------------------------------------


def as_comment(lines: Iterable[str]) -> str:
    return "/**\n" + "".join(f" * {line}".rstrip() + "\n" for line in lines) + " */"


def program(path: Path, markup: Markup, ways_on: Sequence[Tuple[str, str, str]]) -> str:
    """Returns a program for Doxygen: names in its comments are links, and its page ends with the whole file.

    Below the file are links to other pages: a word, what Doxygen knows the page as, and its title.
    """
    def long(match: Match[str]) -> str:
        text = re.sub(r"^ *\* ?", "", match[1], flags=re.M)
        return as_comment(markup.convert(text, path, path.stem).splitlines())

    def short(match: Match[str]) -> str:
        return f"/**{match[1]} {markup.convert(match[2], path, path.stem)} */"

    text = re.sub(r"/\*\*\n((?: *\*(?!/).*\n)+?) *\*/", long, path.read_text(encoding="utf-8"))
    text = re.sub(r"/\*\*(<?) (.*?) \*/", short, text)
    end = ["", "@par The file", f"@include{{lineno}} {path.relative_to(ROOT)}", "", raw('<nav class="turn" aria-label="Pages">'),
           *(f'@ref {target} "{word}: {plain(title)}"' for word, target, title in ways_on), raw("</nav>")]
    return text.replace(" */", "".join(f" * {line}".rstrip() + "\n" for line in end) + " */", 1)


def card_header(path: Path, markup: Markup, uses: Mapping[str, Sequence[str]]) -> str:
    """Returns a header of cards for Doxygen: names are links, and each card lists the labs that mention it."""
    def card(match: Match[str]) -> str:
        _, name = declared(match["line"])
        text = "\n".join(line[3:] for line in match["comment"].splitlines())
        group = re.match(r"@defgroup .*\n", text)  # Doxygen 1.17 refuses links in a group's title
        title = group[0] if group else ""
        lines = (title + markup.without(name).convert(text[len(title):], path, path.stem)).splitlines()
        if uses.get(name):
            lines += ["", "@par Labs", ", ".join(f'@ref lab_{number} "{number}"' for number in uses[name])]
        return as_comment(lines) + "\n" + match["line"]

    def field(match: Match[str]) -> str:
        return match[0].replace(match["text"], markup.convert(match["text"], path, path.stem))

    cards = path.read_text(encoding="utf-8").split(" */\n", 1)[1]  # without the "@file" comment: the group has its page
    return FIELD.sub(field, DOCUMENTED.sub(card, cards))
