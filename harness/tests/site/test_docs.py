"""The site: errors that Doxygen does not report, losses in conversion, and content that students must not see."""
import html
import json
import re
import subprocess
from html.parser import HTMLParser

import pytest

from shmlab import gallery, labs
from shmlab.site import docs, markup, mistakes

pytestmark = pytest.mark.xdist_group("docs")  # one worker builds the pages, for all of these tests
EDITIONS = {"student": {}, "plain": {"theme": False}, "instructor": {"instructor": True}}
LABS = labs.all_labs()
ONLY_FOR_INSTRUCTORS = docs.DOCS / "teaching.md"
PAGES = ([lab.directory / "README.md" for lab in LABS] + sorted({*docs.DOCS.glob("*.md")} - {ONLY_FOR_INSTRUCTORS})
         + [labs.ROOT / "README.md"])
CARDS = docs.all_cards()


class Html(HTMLParser):
    """Parses one page: its links, the anchors that links can lead to, its text and its code."""

    def __init__(self, path):
        super().__init__()
        self.links, self.places, self.tags = [], [], []
        self.text, self.code, self.unlinked_code, self.prose = "", [], [], ""
        self.open = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        words = dict(attributes)
        self.tags.append((tag, words))
        self.links += [value for name, value in attributes if name in ("href", "src") and value]
        self.places += [value for name, value in attributes if name in ("id", "name") and value and tag != "meta"]
        if tag not in ("br", "img", "meta", "link", "input", "hr", "wbr", "path", "rect", "circle", "line"):
            self.open.append(tag)
        if tag == "code":
            self.code.append("")
            self.unlinked_code.append("")

    def handle_endtag(self, tag):
        while tag in self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if {"script", "style"} & set(self.open):
            return
        self.text += data
        if "code" in self.open:
            self.code[-1] += data
            self.unlinked_code[-1] += " " if "a" in self.open else data
        elif "pre" not in self.open and "svg" not in self.open:
            self.prose += data


class Edition:
    def __init__(self, name, directory):
        self.name, self.directory = name, directory / name
        self.done = docs.build(self.directory, **EDITIONS[name])
        self.pages = {path.name: Html(path) for path in sorted(self.directory.glob("*.html"))}

    def handout(self, lab):
        return self.pages[f"lab_{lab.number}.html"]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Returns a function that builds each edition once."""
    directory, made = tmp_path_factory.mktemp("docs"), {}

    def get(name):
        if name not in made:
            made[name] = Edition(name, directory)
        return made[name]

    return get


@pytest.fixture
def student(built):
    return built("student")


@pytest.mark.parametrize("name", EDITIONS)
def test_doxygen_has_nothing_to_complain_of(built, name):
    done = built(name).done
    assert (done.returncode, done.stdout) == (0, "")


def test_a_groups_title_has_no_link(tmp_path):
    """Doxygen 1.17 refuses one; older versions, which the test above may have run, do not."""
    docs._write_sources(tmp_path, False)
    titles = [line for path in (tmp_path / "api").glob("*.h") for line in path.read_text().splitlines() if "@defgroup" in line]
    assert len(titles) > 5 and not [title for title in titles if "@ref" in title]
    assert any("futex" in title for title in titles), "a title with a name that is a link elsewhere"


@pytest.mark.parametrize("name", EDITIONS)
def test_every_link_and_picture_leads_somewhere(built, name):
    edition = built(name)
    broken = []
    for page, parsed in edition.pages.items():
        for link in parsed.links:
            target, _, place = html.unescape(link).partition("#")
            if re.match(r"[a-z]+:", link) or link in ("#", ""):
                continue
            if not (edition.directory / (target or page)).is_file():
                broken.append(f"{page}: {link}")
            elif place and (target or page).endswith(".html"):
                if place not in edition.pages[target or page].places:
                    broken.append(f"{page}: {link}")
    assert not broken


def test_no_place_on_a_page_has_the_name_of_another(student):
    for name, page in student.pages.items():
        twice = {place for place in page.places if page.places.count(place) > 1}
        # Doxygen writes an id and a name for each anchor, and for each line of a listing.
        assert {place for place in twice if page.places.count(place) > 2} == set(), name


@pytest.mark.parametrize("name", EDITIONS)
def test_no_markup_is_left_on_a_page(built, name):
    for path in built(name).directory.glob("*.html"):
        text = re.sub(r"<(script|style|pre|code)\b.*?</\1>|<div class=\"(fragment|line)\".*?</div>", "", path.read_text(), flags=re.S)
        left = re.search(r"@(ref|include|snippet|htmlonly)\b|\|-{3,}|```|\{#", html.unescape(re.sub(r"<[^>]+>", "", text)))
        assert not left, f"{path.name}: {left[0]}"


def test_every_source_says_what_it_is():
    for path in [*labs.LABS.glob("*/*.[ch]"), *labs.SOLUTIONS.glob("*/*.[ch]"), *docs.DOCS.glob("api/*.h"),
                 *docs.DOCS.glob("examples/*.c")]:
        assert re.match(r"/\*\*\n \* @file\n \* @brief \S", path.read_text()), path


def side_bar(edition):
    """The side bar is a tree of titles. Each links to a page of its own, except the parts of the course."""
    targets = []

    def tree(nodes):
        targets.extend(target for _, target, _ in nodes)
        return [(title, tree(below) if isinstance(below, list) else []) for title, target, below in nodes]

    text = (edition.directory / "navtreedata.js").read_text()
    found = tree(json.loads(re.search(r"var NAVTREE =\s*(\[.*?\n\]);", text, re.S).group(1)))[0][1]
    assert len(set(targets)) == len(targets)
    assert sum("#" in target for target in targets) == 6
    return found


def test_side_bar_has_the_reading_order(student):
    tree = side_bar(student)
    assert [title for title, _ in tree] == [
        "Start here", "Your machine", "Elsewhere than Linux", "Handouts", "Anonymous or named?", "Which shared memory should I use?",
        "How long does it live?", "From pointer to page", "System V beside POSIX", "Synchronising processes",
        "How fast shared memory is", "Every schedule", "You are the scheduler", "It does not build", "How it fails",
        "Killed with Ctrl-C", "See it yourself", "A picture of your run", "Common mistakes", "API cards", "Glossary", "Cheat sheet",
        "For instructors", "Grading a course", "For maintainers"]
    parts = dict(tree)["Handouts"]
    assert [title[:7] for title, _ in parts] == [f"Part {number}." for number in range(1, 7)]
    handouts = [handout for _, below in parts for handout in below]
    assert [title for title, _ in handouts] == [f"{lab.number} {lab.title}" for lab in LABS]
    for lab, (_, files) in zip(LABS, handouts):
        assert [name for name, _ in files] == sorted(path.name for path in lab.directory.glob("*.[ch]"))


def test_instructors_side_bar_ends_with_the_solutions(built):
    title, below = side_bar(built("instructor"))[-1]
    assert title == "Solutions and grading" and len(below) == len(LABS)


# ---- conversion loses nothing -----------------------------------------------------------------------------


def code_spans(text):
    text = re.sub(r"^ *```.*?^ *```", "", text, flags=re.M | re.S)
    for ticks, body in re.findall(r"(?<!`)(`+)(?!`)((?:(?!\n\s*\n).)+?)(?<!`)\1(?!`)", text, re.S):
        yield " ".join(body.replace("\\|", "|").split())


def html_of(edition, page):
    if page.name == "README.md":
        return edition.pages["readme.html" if page.parent == labs.ROOT else f"lab_{page.parent.name[:2]}.html"]
    return edition.pages["index.html" if page.stem == docs.WELCOME else f"{page.stem}.html"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(labs.ROOT)))
def test_page_shows_what_the_file_says(student, page):
    text, shown = re.sub(r"<!--.*?-->", "", page.read_text(), flags=re.S), html_of(student, page)
    code = [" ".join(piece.split()) for piece in shown.code]
    prose = re.sub(r"^#+ .*$|\[[^\]]*\]\([^)]*\)|<summary>.*?</summary>", "", text, flags=re.M)
    assert [span for span in code_spans(prose) if span not in code] == []
    everything = re.sub(r"\s+", " ", shown.text)
    for fence in re.findall(r"^( *)```\w*\n(.*?)^\1```", text, re.M | re.S):
        for line in fence[1].splitlines():
            assert " ".join(line.split()) in everything, line
    left = r"\*\*\S|\]\(|[@\\](?:ref|snippet|include|endhtmlonly|htmlonly)\b|```|</?\w+>|&\w+;"
    assert re.findall(left, shown.prose) == []
    without_code = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    for title in re.findall(r"^##+ (.*?)(?: \{#\w+\})?$", without_code, re.M):
        assert title.replace("`", "") in shown.text
    figures = len(re.findall(r"!\[[^\]]*\]\([^)]*\.svg\)", text))
    assert [tag for tag, _ in shown.tags].count("figure") == figures
    assert [tag for tag, _ in shown.tags].count("table") >= len(re.findall(r"^\|[-| :]+\|$", text, re.M))


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.name)
def test_hints_are_closed_boxes_with_their_text_inside(student, lab):
    page = (student.directory / f"lab_{lab.number}.html").read_text()
    boxes = re.findall(r"<details>(.*?)</details>", page, re.S)
    assert len(boxes) == len(lab.hints()) == page.count("<details")
    for box, (title, text) in zip(boxes, lab.hints()):
        inside = html.unescape(re.sub(r"<[^>]+>", "", box))
        first, last = text.split()[0], text.split()[-1]
        assert title in inside and first.strip("`*") in inside and last.strip("`*.") in inside


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(labs.ROOT)))
def test_every_mention_of_a_call_or_constant_in_code_is_a_link(student, page):
    names = {card.name for card in CARDS if card.kind in ("call", "constant")}
    plain = " ".join(html_of(student, page).unlinked_code)
    # After a slash, a dot or a hyphen the word is part of a path or an option.
    assert sorted(names & set(re.findall(r"(?<![\w/.-])[A-Za-z_]\w+(?![\w])", plain))) == []


# ---- cards ------------------------------------------------------------------------------------------------

# The C library, and calls that the labs do not teach.
PLAIN_C = set("""_exit err errx exit ferror fflush fprintf free fwrite getline getpid main malloc memcpy memset
    offsetof pread printf putchar read signal sizeof snprintf strcmp strcpy strlen strnlen strspn strtoimax strtoumax
    warn warnx write if for return switch while""".split())
PLAIN_CONSTANTS = re.compile(r"EXIT_\w+|NULL|EOF|\w+_(MAX|MIN|C|FILENO)|SIG_\w+|SEEK_\w+|_\w+_SOURCE|S_I\w+|\w+_H"
                             r"|PRI\w+")


def test_every_call_and_constant_of_the_labs_has_a_card():
    cards, missing = {card.name for card in CARDS}, set()
    for lab in LABS:
        sources = [path.read_text() for path in (labs.SOLUTIONS / lab.name).glob("*.[ch]")]
        text = re.sub(r"/\*.*?\*/|\"(?:\\.|[^\"\n])*\"|^#include.*$", " ", "\n".join(sources), flags=re.S | re.M)
        own = set(re.findall(r"^[\w ]+[ *]+(\w+)\([^;]*$", text, re.M))
        own |= set(re.findall(r"^#define (\w+)", text, re.M))
        enums = " ".join(re.findall(r"enum \{.*?\}", text, re.S))
        own |= set(re.findall(r"\b([A-Z][A-Z0-9_]+)(?= *(?:=|,|\}|\[))", enums))
        own |= set(re.findall(r"^static const [\w ]+?\b([A-Z_]+)\b", text, re.M))
        called = set(re.findall(r"(?<![\w.>])([a-z]\w+)\(", text)) - PLAIN_C
        named = set(re.findall(r"\b[A-Z_][A-Z0-9_]{2,}\b", text))
        named = {name for name in named if not PLAIN_CONSTANTS.fullmatch(name)}
        missing |= {f"{lab.number} {name}" for name in (called | named) - own - cards}
    assert sorted(missing) == []


@pytest.mark.parametrize("path", docs.card_headers(), ids=lambda path: path.stem)
def test_every_card_is_complete(path):
    text = path.read_text()
    for match in markup.DOCUMENTED.finditer(text):
        kind, name = markup.declared(match["line"])
        if not kind:
            continue
        comment = match["comment"]
        assert "@brief" in comment and re.search(r"@see .*\([0-8]p?\)", comment, re.S), name
        if kind == "call":
            assert "@return" in comment or match["line"].startswith("void "), name
            assert "@par Pitfalls" in comment, name
            may_fail = re.search(r"-1 on failure|error's number|FAILED|number of the error", comment)
            nothing_of_their_own = ("pthread_cond_signal", "pthread_cond_broadcast", "syscall")
            assert "@par Errors" in comment or not may_fail or name in nothing_of_their_own, name
    assert set(docs.DOCS.glob("api/*.h")) == set(docs.card_headers())


def test_no_two_cards_have_one_name():
    names = [card.name for card in CARDS]
    assert sorted(name for name in set(names) if names.count(name) > 1) == []


def test_card_tells_which_labs_use_it_and_links_to_its_manual_pages(student):
    page = (student.directory / "group__cards__sysv.html").read_text()
    card = page[page.index('<span class="permalink"><a href="#', page.index("shmget")):]
    assert "https://man7.org/linux/man-pages/man2/shmget.2.html" in card
    assert "https://pubs.opengroup.org/onlinepubs/9799919799/functions/shmget.html" in card
    assert re.search(r"<dt>Labs</dt><dd>.*lab_05.html.*lab_06.html.*lab_07.html", card)


def test_start_page_needs_no_command_that_students_do_not_have():
    makefile = (labs.ROOT / "Makefile").read_text()
    theirs = re.sub(r"^# \(not for students\n.*?^# not for students\)\n", "", makefile, flags=re.M | re.S)
    for page in [docs.DOCS / "welcome.md", docs.DOCS / "start.md", *(lab.directory / "README.md" for lab in LABS)]:
        for command in re.findall(r"^\$ make ([a-z-]+)", page.read_text(), re.M):
            assert re.search(rf"^{command}:", theirs, re.M), f"{page}: make {command}"


def index_of(edition):
    text = (edition.directory / "search-index.js").read_text()
    return json.loads(re.fullmatch(r"window\.searchIndex = (.*);\n", text, re.S)[1])


@pytest.mark.parametrize("name", EDITIONS)
def test_what_the_search_finds_is_there(built, name):
    edition = built(name)
    for place, section, page, heading, *_ in index_of(edition)["entries"]:
        for link in (place, section):
            file, _, anchor = link.partition("#")
            assert not anchor or anchor in edition.pages[file].places, link
        assert page and heading, place


def test_search_knows_the_names_and_the_messages(student):
    titles = {re.sub(r"\W.*", "", title) for _, _, _, _, title, *_ in index_of(student)["entries"]}
    assert {card.name for card in CARDS} - titles == set()
    words = {re.split("[:,]", title)[0] for _, _, _, _, title, *_ in index_of(student)["entries"]}
    assert set(re.findall(r"^\*\*([^*,]+)", (docs.DOCS / "glossary.md").read_text(), re.M)) - words == set()
    texts = {title: messages for _, _, _, _, title, messages, _ in index_of(student)["entries"] if messages}
    assert texts["EIDRM"] == "Identifier removed" and texts["SIGBUS"].startswith("Bus error (core dumped) exit status 135")


def test_search_tells_no_hint(student):
    texts = " ".join(text for *_, text in index_of(student)["entries"])
    for lab in LABS:
        for _, hint in lab.hints():
            assert " ".join(hint.split()[:12]).replace("`", "") not in texts


def test_a_machine_without_lunr_gets_pages_without_a_search_box(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(docs.search_index, "LUNR", tmp_path / "missing.js")
    monkeypatch.setattr(docs, "ROOT", tmp_path)
    monkeypatch.setattr(docs, "build", lambda output, instructor: subprocess.CompletedProcess([], 0, ""))
    assert docs.main(False) == 0
    assert "no search box: libjs-lunr and python3-lunr are missing" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setattr(docs.search_index, "LUNR", tmp_path / "missing.js")
    done = docs.build(tmp_path / "site")
    assert (done.returncode, done.stdout) == (0, "")
    assert not (tmp_path / "site" / "search-index.js").exists() and "search.js" not in (tmp_path / "site" / "index.html").read_text()


# ---- mistakes, solutions ----------------------------------------------------------------------------------


def test_every_mistake_is_on_the_page_under_what_one_sees(student):
    page = (student.directory / "mistakes.html").read_text()
    shown = html.unescape(re.sub(r"<[^>]+>", "", page))
    flat = " ".join(shown.split())
    for mistake in gallery.mistakes():
        assert " ".join(mistake.seen_as.replace("`", "").split()) in flat, mistake
        assert " ".join(mistake.title.replace("`", "").split()) in flat, mistake
    assert page.count("<li") >= len(gallery.mistakes())
    filled = {mistakes.symptom_of(mistake) for mistake in gallery.mistakes()}
    assert filled == {title for title, _ in mistakes.SYMPTOMS}
    rest = [m for m in gallery.mistakes() if mistakes.symptom_of(m) == mistakes.SYMPTOMS[-1][0]]
    assert len(rest) * 10 < len(gallery.mistakes()), "too many mistakes without a symptom to look for"


def in_todos(text):
    """Returns the lines of a solution that a student has to write."""
    for found in re.finditer(r"/\* TODO (\d+):.*?\*/\n(.*?)[ ]*/\* TODO \1 ends\. \*/", text, re.S):
        yield from (" ".join(line.split()) for line in found[2].splitlines())


def secrets():
    """Returns the specific lines of the solutions that no handout or skeleton contains."""
    given = " ".join(" ".join(path.read_text().split()) for path in labs.LABS.glob("*/*"))
    for path in labs.SOLUTIONS.glob("*/*.[ch]"):
        for line in in_todos(path.read_text()):
            if len(line) >= 20 and line not in given and not re.fullmatch(r'err\(EXIT_FAILURE, "\w+"\);', line):
                yield line


def test_student_edition_has_no_line_of_a_solution(student):
    lines = set(secrets())
    assert len(lines) > 200
    for path in [path for path in student.directory.rglob("*") if path.suffix in (".html", ".js")]:
        text = " ".join(html.unescape(re.sub(r"<[^>]+>", "", path.read_text())).split())
        assert [line for line in lines if line in text] == [], path.name


def test_instructors_edition_has_all_solutions_grading_and_patches(built):
    edition = built("instructor")
    for lab in LABS:
        page = edition.pages[f"solution_{lab.number}.html"]
        text = " ".join(re.sub(r"\n +\d+(?=\s)", "\n", page.text).split())
        for path in (labs.SOLUTIONS / lab.name).glob("*.[ch]"):
            for line in in_todos(path.read_text()):
                assert line in text, line
        for points, sentence in lab.promised_checks():
            assert " ".join(sentence.replace("`", "").split()) in text
        for mistake in gallery.mistakes():
            if mistake.lab == lab:
                line = " ".join(mistake.path.read_text().splitlines()[-2].split())
                assert mistake.name in text and line in text


def test_programs_that_pages_hold_themselves_compile(tmp_path):
    """test_examples.py compiles what is quoted from docs/examples/."""
    command = ["cc", "-std=c17", "-Wall", "-Wextra", "-Werror", "-x", "c", "-", "-o", str(tmp_path / "program")]
    for page in PAGES:
        for code in re.findall(r"^ *```c\n(.*?)^ *```", page.read_text(), re.M | re.S):
            done = subprocess.run(command, input=code, capture_output=True, text=True)
            assert done.returncode == 0, f"{page}: {done.stderr}"
