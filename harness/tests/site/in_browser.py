"""`make docs-test`: opens every page of the site in headless Chromium, in light and in dark colours.

axe-core judges accessibility: WCAG 2 and its best practices, such as landmarks and the order of headings. setup.sh
brings it.
"""
import base64
import re

import pytest
from made_up_results import made_up
from running import FULL
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from shmlab.course import pages
from shmlab.sandbox import native
from shmlab.site import docs, play, stories

WIDE, NARROW = (1280, 900), (390, 844)
SWITCHES = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
            "--disable-background-networking", "--disable-component-update",
            "--disable-features=BackForwardCache"]

AXE = native.build_directory() / "npm" / "node_modules" / "axe-core" / "axe.min.js"

# Removes what looks like something before it: elements whose tags and attributes, and those of all that they are in and
# that is in them, were there already. So axe-core judges a line of a listing once and not a thousand times. The headings
# stay, as their order is judged.
THIN = """
const seen = new Set(), HEADINGS = 'h1, h2, h3, h4, h5, h6, [role=heading]', STAYS = `${HEADINGS}, dt, dd`;
function kind(e) {
    const words = [...e.attributes].filter(a => !/^(id|href|src|name|title|aria-controls)$/.test(a.name))
                                   .map(a => `${a.name}=${a.value.replace(/:.*/, '')}`);
    return `${e.tagName} ${words} ${e.title !== ''} ${[...e.childNodes].some(node => node.nodeType === 3 && node.data.trim())}`;
}
function isNew(e, path) {
    return !seen.has(path) || [...e.children].some(child => isNew(child, `${path} > ${kind(child)}`));
}
function thin(e, path) {
    seen.add(path);
    for (const child of [...e.children]) {
        const below = `${path} > ${kind(child)}`;
        if (!isNew(child, below) && !child.matches(STAYS) && !child.querySelector(HEADINGS)) child.remove();
        else if (child.tagName !== 'svg') thin(child, below);
    }
}
thin(document.body, '');
"""

# Calls back with what axe-core finds wrong, as "rule: element".
JUDGE = """
const [rules, done] = arguments;
axe.run(document, {resultTypes: ['violations'], preload: false, ...(rules.length ? {runOnly: rules} : {})}).then(result =>
    done(result.violations.flatMap(rule => rule.nodes.map(node => `${rule.id}: ${node.target} ${node.html.slice(0, 120)}`))),
    error => done([`axe-core: ${error}`]));
"""

# Returns elements wider than the window, and scrolling boxes that the keyboard cannot reach.
LAYOUT = """
const wrong = [], root = document.scrollingElement;
if (root.scrollWidth > innerWidth) wrong.push(`page is ${root.scrollWidth} wide in a window of ${innerWidth}`);
const content = document.getElementById('doc-content');
if (content && content.scrollWidth > content.clientWidth)
    wrong.push(`content is ${content.scrollWidth} wide in ${content.clientWidth}`);
for (const box of document.querySelectorAll('pre, .fragment, table, .memproto, .contents div')) {
    const scrolls = /auto|scroll/.test(getComputedStyle(box).overflowX) && box.scrollWidth > box.clientWidth;
    if (scrolls && box.tabIndex < 0 && !box.querySelector('a[href], button'))
        wrong.push(`keyboard cannot scroll ${box.className || box.tagName}: ${box.innerText.slice(0, 40)}`);
}
return wrong;
"""


class Browser:
    def __init__(self, profile):
        options = Options()
        for switch in [*SWITCHES, f"--user-data-dir={profile}"]:
            options.add_argument(switch)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
        self.driver.set_script_timeout(20)

    def call(self, method, **parameters):
        """Executes a command of Chromium's DevTools protocol."""
        return self.driver.execute_cdp_cmd(method, parameters)

    def run(self, script):
        return self.driver.execute_script(script)

    def window(self, size):
        self.call("Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=1,
                  mobile=False)

    def colours(self, scheme, medium="screen"):
        self.call("Emulation.setEmulatedMedia", media=medium,
                  features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self, path):
        """Opens a page. Returns the browser's error messages."""
        self.driver.get_log("browser")
        self.driver.get(path.as_uri())
        self.until("return document.readyState === 'complete' && !!document.querySelector('#nav-tree li')")
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def judged(self, *rules):
        """Returns what axe-core finds wrong, by all of its rules or the ones that are named."""
        if not self.run("return typeof axe === 'object'"):
            self.run(AXE.read_text(encoding="utf-8"))
        return self.driver.execute_async_script(JUDGE, list(rules))

    def until(self, script, seconds=20):
        return WebDriverWait(self.driver, seconds, poll_frequency=0.03).until(lambda _: self.run(script))


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.driver.quit()


EDITIONS = {"student": {}, "plain": {"theme": False}, "instructor": {"instructor": True}}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Builds each edition; the value is the directory of each."""
    directory = tmp_path_factory.mktemp("docs")
    for name, words in EDITIONS.items():
        done = docs.build(directory / name, **words)
        assert done.returncode == 0, done.stdout
    return directory


# One page of each kind.
KINDS = ("index", "lab_05", "lab_18", "compare", "mistakes", "api", "group__cards__sysv", "sysv__create_8c", "stepper", "address")


def pages_of(directory, edition):
    """Returns the pages to look at: all of the student's edition, those of the instructor's that differ from them, and one
    of each kind without the theme."""
    all_pages = [page for page in sorted((directory / edition).glob("*.html")) if page.stem != "slides"]  # it is not Doxygen's
    if edition == "plain":
        return [page for page in all_pages if page.stem in KINDS]
    seen = {page.name: page.read_text() for page in (directory / "student").glob("*.html")} if edition == "instructor" else {}
    number = '<span id="projectnumber">&#160;staff</span>'
    return [page for page in all_pages if page.read_text().replace(number, "") != seen.get(page.name)]


@pytest.mark.parametrize("edition", EDITIONS)
def test_every_page_is_accessible_in_light_and_dark_and_on_a_telephone(browser, site, edition):
    """No browser errors, nothing too wide, and nothing that axe-core finds wrong: in a sample of the pages, with FULL=1 in all."""
    wrong = []
    for number, page in enumerate(pages_of(site, edition)):
        browser.window(NARROW)
        browser.colours("light")
        found = browser.open(page) + browser.run(LAYOUT)
        if not FULL and page.stem not in KINDS and number % 4:
            wrong += [f"{page.stem}: {text}" for text in found]
            continue
        browser.run(THIN)
        if page.stem in KINDS:
            found += browser.judged()
        browser.colours("dark")
        found += browser.judged("color-contrast")
        browser.window(WIDE)
        if page.stem in KINDS:
            found += browser.judged("color-contrast")
        browser.colours("light")
        found += browser.judged()
        wrong += [f"{page.stem}: {text}" for text in found]
        assert len(wrong) < 60, "\n".join(wrong)
    assert not wrong, "\n".join(wrong)


# What students type, and the places with the answer: one of them has to be among the first three results.
SEARCHES = [
    ("shmget: Invalid argument", "failures.html#failures_error_numbers"),
    ("Bus error (core dumped)", "failures.html#failures_sigbus"),
    ("undefined reference to shm_open", "build.html#build_undefined_reference"),
    ("Identifier removed", "failures.html#failures_error_numbers"),
    ("lost update", "glossary.html lab_04.html"),
    ("race", "synchronise.html#synchronise_the_start_race"),
    ("umask", "failures.html#failures_permissions"),
    ("value not updated in other process", "failures.html#failures_wrong_values"),
    ("shared memory not cleaned up", "failures.html#failures_leaks killed.html#killed_who_cleans_up"),
    ("printed twice after fork", "group__cards__processes.html fork()"),
    ("sem_wait blocks forever", "failures.html#failures_it_hangs"),
    ("mmap: Permission denied", "failures.html#failures_permissions"),
    ("Segmentation fault (core dumped)", "failures.html#failures_sigsegv"),
    ("./reader: shm_open: No such file or directory", "failures.html#failures_error_numbers"),
    ("No space left on device", "failures.html#failures_error_numbers"),
    ("implicit declaration of function 'ftruncate'", "build.html#build_implicit_declaration"),
    ("'MAP_ANONYMOUS' undeclared (first use in this function)", "build.html#build_undeclared"),
    ("multiple definition of `main'", "build.html#build_multiple_definition"),
    ("warning: comparison between pointer and integer", "build.html#build_warnings_that_are_mistakes"),
    ("how to delete a shared memory segment", "failures.html#failures_leaks"),
    ("ctrl-c leaves shared memory behind", "killed.html#killed_what_stays"),
    ("pointer in shared memory crashes other process", "failures.html#failures_sigsegv"),
    ("does not work on my mac", "elsewhere.html#elsewhere_macos"),
    ("docker shm size", "failures.html#failures_limits_and_containers"),
    ("exit status 139", "failures.html#failures_sigsegv"),
    ("mutex locked forever after crash", "synchronise.html#synchronise_when_the_other_dies"),
    ("zombie", "glossary.html"),
    # In another order, with typing errors, not to the end
    ("argument invalid shmget", "failures.html#failures_error_numbers"),
    ("segmentaion falt", "failures.html#failures_sigsegv"),
    ("semafore", "glossary.html group__cards__semaphores.html"),
    ("shmgett", "group__cards__sysv.html shmget()"),
    ("permiss", "failures.html#failures_permissions"),
    # Names
    ("shmget", "group__cards__sysv.html shmget()"), ("nattch", "glossary.html"), ("ENOSPC", "group__cards__errors.html ENOSPC"),
    ("mutex", "glossary.html"), ("ipcs", "failures.html#failures_leaks")]

RESULTS = """return [...document.querySelectorAll('#search-list [role=option]')].map(
    e => ({href: e.getAttribute('href'), title: e.querySelector('.found-title').textContent}))"""


def search(browser, words):
    """Types into the search box. Returns the results, best first."""
    field = browser.driver.find_element(By.ID, "search-field")
    field.clear()
    field.send_keys(words)
    browser.until("return !document.getElementById('search-panel').hidden")
    return browser.run(RESULTS)


def sections_of(page):
    """Returns for each id on a page that of the section in which it is: rows of tables, for example, are results, too."""
    section, found = "", {}
    for tag, place in re.findall(r'<(\w+)[^>]*? id="([^"]+)"', page.read_text(encoding="utf-8")):
        section = section if place.startswith("entry_") else place
        found[place] = section
    return found


def leads_to(result, places, site):
    """Tells whether a result is one of some places: a page, its section, or its entry with a title."""
    page, _, anchor = result["href"].partition("#")
    section = sections_of(site / page).get(anchor, "")
    title = result["title"].rpartition(" \u203a ")[2]
    wanted = places.split()
    return any(place in (page, f"{page}#{section}") for place in wanted if "()" not in place) and (
        wanted[-1] == title or "#" in places or wanted[-1].endswith(".html"))


def test_search_finds_what_students_type(browser, site):
    browser.window(WIDE)
    browser.colours("light")
    assert browser.open(site / "student" / "lab_03.html") == []
    missed = []
    for words, places in SEARCHES:
        first = search(browser, words)[:3]
        if not any(leads_to(result, places, site / "student") for result in first):
            missed.append(f"{words}: {first}")
    assert not missed, "\n".join(missed)
    assert browser.driver.get_log("browser") == []


def test_search_finds_only_what_is_there(browser, site):
    browser.open(site / "student" / "lab_03.html")
    assert search(browser, "qqxyzzy") == []
    count = browser.driver.find_element(By.ID, "search-count")
    assert count.text.startswith("Nothing was found") and count.get_attribute("role") == "status"
    assert len(search(browser, "shmget")) == 10
    assert re.match(r"The best 10 of \d+ sections", count.text)
    marked = browser.run("return [...document.querySelectorAll('#search-list mark')].map(e => e.textContent)")
    assert set(marked) >= {"shmget"}


def test_each_edition_finds_only_its_own_pages(browser, site):
    browser.window(WIDE)
    for edition in EDITIONS:
        browser.open(site / edition / "lab_03.html")
        found = [result["href"] for result in search(browser, "solution of lab 05 sysv_create.c grading")]
        assert ("solution_05.html" in [href.partition("#")[0] for href in found]) == (edition == "instructor"), found


def test_search_by_keyboard(browser, site):
    browser.window(WIDE)
    browser.open(site / "student" / "lab_03.html")
    active = browser.driver.switch_to.active_element
    active.send_keys("/")
    field = browser.driver.switch_to.active_element
    assert field.get_attribute("id") == "search-field" and field.get_attribute("value") == ""
    field.send_keys("Identifier removed")
    browser.until("return document.querySelectorAll('#search-list [role=option]').length > 2")
    chosen = "return document.querySelector('#search-list [aria-selected=true]').id"
    for key, number in ((Keys.ARROW_DOWN, 1), (Keys.ARROW_DOWN, 2), (Keys.ARROW_UP, 1), (Keys.ARROW_UP, 0)):
        field.send_keys(key)
        assert browser.run(chosen) == field.get_attribute("aria-activedescendant") == f"found-{number}"
    field.send_keys(Keys.ESCAPE)
    assert not browser.driver.find_element(By.ID, "search-panel").is_displayed()
    assert field.get_attribute("aria-expanded") == "false"
    field.send_keys(Keys.ARROW_DOWN)
    browser.until("return !document.getElementById('search-panel').hidden")
    field.send_keys(Keys.ENTER)
    browser.until("return location.href.includes('failures.html#entry_')")
    row = browser.until("return document.querySelector('tr:target')")
    assert "EIDRM" in row.text and "Identifier removed" in row.text
    browser.until("const r = document.querySelector('tr:target').getBoundingClientRect(); return r.top > 0 && r.bottom < innerHeight")


@pytest.mark.parametrize("edition", ["student", "plain"])
@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_search_results_can_be_read(browser, site, edition, size):
    browser.window(size)
    wrong = []
    for scheme in "light", "dark":
        browser.colours(scheme)
        browser.open(site / edition / "lab_05.html")
        assert search(browser, "sem_wait blocks forever")
        wrong += browser.judged() + browser.run(LAYOUT)
        box = browser.run("return document.getElementById('search-panel').getBoundingClientRect().toJSON()")
        assert box["left"] >= 0 and box["right"] <= size[0] and box["bottom"] <= size[1], box
    assert not wrong, "\n".join(wrong)
    browser.colours("light")


def test_hint_opens_by_keyboard(browser, site):
    browser.window(WIDE)
    browser.open(site / "student" / "lab_05.html")
    browser.run("[...document.querySelectorAll('.contents a[href]')].filter(e => e.compareDocumentPosition("
                "document.querySelector('details')) & 4).pop().focus()")
    active = browser.driver.switch_to.active_element
    for _ in range(40):
        active.send_keys(Keys.TAB)
        active = browser.driver.switch_to.active_element
        if active.tag_name == "summary":
            break
    assert active.tag_name == "summary" and active.text.startswith("Hint 1")
    inside = browser.driver.find_element(By.CSS_SELECTOR, "details p")
    assert not inside.is_displayed()
    active.send_keys(Keys.ENTER)
    assert inside.is_displayed()
    active.send_keys(Keys.SPACE)
    assert not inside.is_displayed()


@pytest.mark.parametrize("edition", ["student", "plain"])
def test_paper_is_light_and_has_all_hints(browser, site, edition):
    browser.window(WIDE)
    browser.colours("dark")
    browser.open(site / edition / "lab_05.html")
    if edition == "student":
        assert max(brightness(browser)) < 60, "the page should be dark on the screen"
    browser.run("""window.addEventListener('beforeprint', () => {
        window.atPrint = [...document.querySelectorAll('details')].map(
            hint => hint.open && hint.querySelector('p').checkVisibility());
        })""")
    hints = browser.run("return document.querySelectorAll('details').length")
    browser.call("Page.printToPDF")
    assert browser.run("return window.atPrint") == [True] * hints and hints > 3
    assert browser.run("return document.querySelector('details[open]')") is None, "closed again after printing"
    # The colours on paper, although the screen is still dark.
    browser.run("window.dispatchEvent(new Event('beforeprint'))")
    browser.colours("dark", "print")
    assert min(brightness(browser)) > 240
    assert browser.judged("color-contrast") == []
    assert not browser.driver.find_element(By.ID, "side-nav").is_displayed()
    browser.run("window.dispatchEvent(new Event('afterprint'))")
    browser.colours("light")


def test_the_cheat_sheet_is_two_pages(browser, site):
    browser.window(WIDE)
    browser.colours("light", "print")
    for edition in EDITIONS:
        browser.open(site / edition / "cheat_sheet.html")
        pdf = base64.b64decode(browser.call("Page.printToPDF", preferCSSPageSize=True)["data"])
        sizes = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", pdf)
        assert [[round(float(side) / 72 * 25.4) for side in size] for size in sizes] == [[210, 297]] * 2, edition
    browser.colours("light")


def brightness(browser):
    """Returns red, green and blue of the page's background."""
    colour = browser.run("return getComputedStyle(document.body).backgroundColor")
    return [int(number) for number in re.findall(r"\d+", colour)[:3]]


def test_side_bar_shows_where_one_is(browser, site):
    browser.window(WIDE)
    for page, title in (("lab_07", "07 "), ("sysv__create_8c", "sysv_create.c"), ("see", "See it"),
                        ("group__cards__errors", "Errors")):
        browser.open(site / "student" / f"{page}.html")
        browser.until("const e = document.querySelector('#nav-tree .selected .label');"
                      f"return e && e.innerText.trim().startsWith({title!r})")


# ---- the pages to play with


class Stepper:
    """The stepper, as a reader sees it."""

    def __init__(self, browser, story="lost_update", variant=0):
        self.browser, self.root = browser, browser.driver.find_element(By.ID, "stepper")
        for at, value in ((0, story), (1, None)):
            choice = Select(self.root.find_elements(By.TAG_NAME, "select")[at])
            choice.select_by_value(value) if value else choice.select_by_index(variant)

    def button(self, text):
        return next(one for one in self.root.find_elements(By.TAG_NAME, "button") if one.text.startswith(text))

    def click(self, *texts):
        for text in texts:
            self.button(text).click()

    def can(self, text):
        return self.button(text).get_attribute("aria-disabled") == "false"

    def keys(self, *keys):
        self.button("Step A").send_keys(*keys)

    @property
    def memory(self):
        cells = self.root.find_elements(By.CSS_SELECTOR, ".memory dl > div")
        return {cell.find_element(By.TAG_NAME, "dt").text: cell.find_element(By.TAG_NAME, "dd").text for cell in cells}

    @property
    def said(self):
        return self.root.find_element(By.CSS_SELECTOR, "[role=status]").text

    @property
    def counts(self):
        return self.root.find_element(By.CLASS_NAME, "counts").text.splitlines()

    @property
    def taken(self):
        return [item.text for item in self.root.find_elements(By.CSS_SELECTOR, ".taken li:not(.undone)")]


@pytest.fixture
def to_play(browser, site):
    """Returns a function that opens a page; afterwards the browser has no errors to report."""
    def opened(page, size=WIDE):
        browser.window(size)
        browser.colours("light")
        assert browser.open(site / "student" / f"{page}.html") == []
        return browser

    yield opened
    assert browser.driver.get_log("browser") == []


def test_an_update_is_lost_by_clicks(to_play):
    stepper = Stepper(to_play("stepper", NARROW))
    assert stepper.counts[0] == "All schedules: 18 of 20 are wrong."
    stepper.click("Step A", "Step B", "Step A")
    assert stepper.counts[0].endswith("From here: 3 of 3.") and stepper.memory == {"counter": "0"}
    stepper.click("Step A", "Step B", "Step B")
    assert stepper.said.startswith("Wrong. One of the two additions is lost") and stepper.memory == {"counter": "1"}
    assert not stepper.can("Step A") and not stepper.can("Step B") and len(stepper.taken) == 6


def test_an_update_is_lost_by_keys_and_undone(to_play):
    stepper = Stepper(to_play("stepper"))
    stepper.keys("aBab")
    assert "B: r = r + 1;" in stepper.said
    stepper.keys("ba")
    assert stepper.said.startswith("Wrong.") and stepper.memory == {"counter": "1"}
    stepper.keys(Keys.ARROW_LEFT * 5)
    assert stepper.memory == {"counter": "0"} and stepper.taken == ["A: r = counter;"]
    stepper.keys("aab")
    assert stepper.memory == {"counter": "1"} and len(stepper.taken) == 4, "what was undone is forgotten"
    stepper.keys("bb")
    assert stepper.said.startswith("Right.") and stepper.memory == {"counter": "2"}
    stepper.keys(Keys.HOME)
    assert stepper.taken == [] and stepper.can("Redo") and not stepper.can("Undo")
    stepper.keys(Keys.ARROW_RIGHT * 6)
    assert stepper.said.startswith("Right.")


ALL_VARIANTS = [pytest.param(story, number, id=f"{story.ident}-{variant.ident}")
                for story in stories.stories() for number, variant in enumerate(story.variants)]


@pytest.mark.parametrize("story, number", ALL_VARIANTS)
def test_the_page_counts_the_schedules_as_a_list_of_all_of_them_does(to_play, story, number):
    stepper = Stepper(to_play("stepper"), story.ident, number)
    every, ends = play.counted(story.variants[number])
    wrong = sum(count for (bad, _), count in ends.items() if bad)
    assert stepper.counts[0] == f"All schedules: {wrong} of {every} are wrong."
    assert sorted(stepper.counts[1:]) == sorted(f"{count} schedule{'' if count == 1 else 's'}: {text}" for (_, text), count in ends.items())
    stepper.click("Show me a bad schedule")
    if not wrong:
        assert stepper.said == "This code has no wrong schedule."
        return
    assert stepper.said.startswith("Wrong. ") and any(bad and text in stepper.said for bad, text in ends)
    steps = stepper.taken
    stepper.keys(Keys.ARROW_LEFT * len(steps))
    assert stepper.taken == [] and stepper.can("Redo") and not stepper.can("Undo")
    stepper.keys(Keys.ARROW_RIGHT * len(steps))
    assert stepper.taken == steps and stepper.said.startswith("Wrong. ")
    assert stepper.can("The one that make explore found") == bool(story.variants[number].mistake)
    if story.variants[number].mistake:
        stepper.click("Start again", "The one that make explore found")
        assert stepper.said.startswith("Wrong. ")


def test_the_lost_wake_up_by_hand(to_play):
    stepper = Stepper(to_play("stepper"), "fence")
    stepper.click("Step A", "Step A", "Step B", "Step B")
    assert not stepper.can("Step B"), "a system call waits for the store buffer"
    stepper.click("Flush B", "Step B", "Flush A")
    assert stepper.said.startswith("Wrong.") and stepper.memory == {"sent": "8", "empty_at": "7"}
    stepper = Stepper(to_play("stepper"), "fence", 1)
    stepper.click("Step A")
    assert not stepper.can("Step A"), "the fence waits for it, too"
    stepper.keys("A")
    assert stepper.memory["sent"] == "8" and stepper.can("Step A")


def test_a_killed_owner_is_repaired(to_play):
    stepper = Stepper(to_play("stepper"), "robust", 1)
    stepper.click("Step A", "Step A", "Kill A", "Step B")
    assert stepper.memory == {"mutex": "B", "under_way": "yes", "first": "800", "second": "0"}
    stepper.click("Step B", "Step B", "Step B", "Step B", "Step B", "Step C", "Step C")
    assert stepper.said.startswith("Right.") and stepper.memory["first"] == "1000"


def test_a_handout_leads_to_its_story(to_play):
    browser = to_play("lab_13")
    browser.driver.find_element(By.LINK_TEXT, "The overwritten slot").click()
    browser.until("return document.readyState === 'complete' && !!document.querySelector('#stepper select')")
    assert browser.run("return document.querySelector('#stepper select').value") == "slot"


def test_the_questions_lead_to_every_answer(to_play):
    def ask(answers):
        root = to_play("which").driver.find_element(By.ID, "which")
        for answer in answers:
            next(one for one in root.find_elements(By.TAG_NAME, "button") if one.text == answer).click()
        return root

    found = {}
    for answers in (["Yes"], ["No", "Yes"], ["No", "No", "Yes"], ["No", "No", "No", "Yes"], ["No", "No", "No", "No"]):
        root = ask(answers)
        found[root.find_element(By.CSS_SELECTOR, ".said strong").text] = [link.text for link in root.find_elements(By.TAG_NAME, "a")]
        assert len(root.find_elements(By.CSS_SELECTOR, "ol > li")) == len(answers)
    table = [row for row in re.findall(r"^\| \*\*(a.*?)\*\* \|.*\| (.*?) \|$", (docs.DOCS / "which.md").read_text(), re.M)]
    assert len(table) == 5 and set(found) == {answer for answer, _ in table}
    for answer, labs in table:
        assert found[answer][-labs.count("]("):] == re.findall(r"\[(\d\d)\]", labs)
    root = ask(["No", "Yes"])
    next(one for one in root.find_elements(By.TAG_NAME, "button") if one.text == "Back").send_keys(Keys.ENTER)
    assert root.find_element(By.CLASS_NAME, "asked").text == "Must the bytes be there after a reboot?"


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_the_slider_shows_what_was_captured(to_play, size):
    browser = to_play("lifetime", size)
    root = browser.driver.find_element(By.ID, "lifetime")
    slider = root.find_element(By.CSS_SELECTOR, "input[type=range]")
    for run, name in enumerate(("lifetime", "lifetime_left")):
        Select(root.find_element(By.TAG_NAME, "select")).select_by_index(run)
        stages = re.split(r"^== ", (docs.DOCS / "examples" / f"{name}.out").read_text(), flags=re.M)[1:]
        for at, stage in enumerate(stages):
            word, _, output = stage.partition("\n")
            assert slider.get_attribute("aria-valuetext") == f"{at + 1} of {len(stages)}: {word}"
            captured = [" ".join(line.split()) for line in output.splitlines() if line and not line.startswith("$ ")]
            panels = browser.run("return [...document.querySelectorAll('#lifetime pre')].map(e => e.textContent)")
            assert [" ".join(line.split()) for panel in panels for line in panel.splitlines() if line != "(nothing)"] == captured
            assert browser.run(LAYOUT) == []
            slider.send_keys(Keys.ARROW_RIGHT)
    assert "stay" in root.find_element(By.CSS_SELECTOR, "[role=status]").text
    next(one for one in root.find_elements(By.TAG_NAME, "button") if one.text == "map").click()
    assert slider.get_attribute("value") == "1"


def test_a_pointer_is_followed_and_lines_of_maps_are_explained(to_play):
    browser = to_play("address", NARROW)
    root = browser.driver.find_element(By.ID, "address")
    output = (docs.DOCS / "examples" / "address.out").read_text()
    pointers = re.findall(r"^(\w): pointer (\w+), after (?:a store of 'x'|the load)$", output, re.M)
    said = root.find_element(By.CSS_SELECTOR, "[role=status]")
    assert [whose for whose, _ in pointers] == ["A", "B"] and all(pointer in said.text for _, pointer in pointers)
    root.find_element(By.CSS_SELECTOR, ".ticks button").send_keys(Keys.ARROW_RIGHT)
    assert said.text.count("rw-s") == 2
    lit = "return [...document.querySelectorAll('#address .now')].map(e => e.id)"
    assert browser.run(lit) == ["stop_a_space", "stop_b_space"]
    browser.driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT, Keys.NULL)
    browser.driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert browser.run(lit) == ["stop_page"] and "page 1 of inode" in said.text
    lines = root.find_elements(By.CSS_SELECTOR, ".lines button")
    assert [" ".join(line.text.split()) for line in lines] == [
        " ".join(line.split()) for line in output.splitlines() if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line)]
    words = "return document.querySelector('#address [aria-live] dl').innerText.replace(/\\s+/g, ' ')"
    for part, kind in (("SYSV", "a System V segment"), ("memfd", "a memfd"), ("/dev/zero", "a shared anonymous mapping"),
                       ("/dev/shm/kinds", "a POSIX object"), ("place", "a file"), ("[heap]", "private: a store makes a copy")):
        next(line for line in lines if part in line.text).click()
        assert kind in browser.run(words)
    own = root.find_element(By.CSS_SELECTOR, "input")
    own.clear()
    own.send_keys("7f0000000000-7f0000003000 r--p 00002000 08:01 77 /tmp/x")
    assert "3 pages" in browser.run(words) and "byte 8192" in browser.run(words) and "may load; private" in browser.run(words)
    own.send_keys(Keys.HOME, "pointer ")
    assert "not a line of maps" in browser.run(words)


@pytest.mark.parametrize("page", ["stepper", "which", "lifetime", "address"])
def test_paper_and_a_browser_without_scripts_have_the_words(to_play, page):
    browser = to_play(page)
    browser.colours("light", "print")
    words = browser.run("return document.querySelector('.contents').innerText")
    assert not browser.driver.find_element(By.ID, page).is_displayed()
    wanted = {"stepper": "18 of 20 schedules are wrong", "which": "a POSIX object", "lifetime": "dest", "address": "page table"}
    assert wanted[page] in words
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.driver.get(browser.driver.current_url)
        assert browser.driver.find_element(By.ID, page).value_of_css_property("display") == "none"
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


# ---- the page of a graded course


@pytest.fixture
def course_page(browser, tmp_path):
    pages.write_course(tmp_path, made_up(40))
    browser.window(WIDE)
    browser.colours("light")
    browser.driver.get_log("browser")
    browser.driver.get((tmp_path / "index.html").as_uri() + "#05_sysv_create")
    browser.until("return document.readyState === 'complete'")
    yield browser
    assert browser.driver.get_log("browser") == []


FIRST = "return [...document.querySelectorAll('#students tbody tr')].map(row => row.children[{}].textContent)"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_the_course_page_can_be_read(course_page, scheme, size):
    course_page.window(size)
    course_page.colours(scheme)
    assert course_page.run(LAYOUT) == [] and course_page.judged() == []


def test_the_course_page_is_sorted_and_filtered(course_page):
    names = course_page.run(FIRST.format(0))
    assert len(names) == 40 and names[3] == "Ada Constance <b>3</b> Ünïcode"
    score = course_page.driver.find_elements(By.CSS_SELECTOR, "#students thead button")[1]
    for order in -1, 1:
        score.send_keys(Keys.ENTER)
        scores = list(map(int, course_page.run(FIRST.format(1))))
        assert scores == sorted(scores, reverse=order < 0)
    assert course_page.run("return document.querySelector('#students th:nth-child(2)').ariaSort") == "ascending"
    course_page.driver.find_element(By.ID, "filter").send_keys("TEAM 7  ünïcode")
    assert sorted(course_page.run(FIRST.format(0))) == sorted(name for name in names if "7" in name or re.search(r">2[123]<", name))
    assert course_page.run("return document.getElementById('count').textContent").endswith(" of 40")


def test_a_link_to_a_lab_opens_its_table(course_page):
    rows = "return document.querySelectorAll('[id=\"05_sysv_create\"] .students tbody tr').length"
    course_page.until(rows)
    assert 30 <= course_page.run(rows) <= 40
    assert course_page.run("return document.querySelectorAll('[id=\"08_posix_create\"] .students table').length") == 0
    assert "Ada" in course_page.run("return document.querySelector('.alike').textContent")
