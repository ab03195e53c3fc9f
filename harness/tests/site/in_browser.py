"""`make docs-test`: opens every page of the site in headless Chromium, in light and in dark colours.

The accessibility check is our own, because Debian has no package of one that works with its Chromium. Every control and
picture must have a name, and all text enough contrast between the computed colours, by the formula of WCAG 2.
"""
import re

import pytest
from made_up_results import made_up
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from shmlab.course import pages
from shmlab.site import docs

WIDE, NARROW = (1280, 900), (390, 844)
SWITCHES = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
            "--disable-background-networking", "--disable-component-update",
            "--disable-features=BackForwardCache"]

# Returns controls and pictures that have no name for a screen reader.
NAMES = """
const text = e => e ? e.textContent + [...e.querySelectorAll('img')].map(i => i.alt).join('') : '';
const ids = e => (e.getAttribute('aria-labelledby') || '').split(' ').map(id => document.getElementById(id));
const name = e => [e.ariaLabel, e.title, e.alt, ...ids(e).map(text), ...[...e.labels || []].map(text),
                   /^(A|BUTTON|SUMMARY|H.)$/.test(e.tagName) || e.role ? text(e) : ''].join('').trim();
const all = document.querySelectorAll(
    'a[href], button, input, select, summary, iframe, svg[role], img, h1, h2, h3, [role=heading]');
const seen = e => e.checkVisibility() && getComputedStyle(e).visibility !== 'hidden';
const decoration = e => e.tagName === 'IMG' && e.getAttribute('alt') === '';
const nameless = [...all].filter(e => seen(e) && !name(e) && !decoration(e))
                         .map(e => `no name: ${e.outerHTML.slice(0, 80)}`);
if (!document.documentElement.lang) nameless.push('the page has no language');
if (!document.title) nameless.push('the page has no title');
return nameless;
"""

# Returns texts with too little contrast, as "ratio colour on background: text". Elements with the same classes and
# the same ancestors look the same, so one of them is enough.
CONTRAST = """
const luminance = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const rgba = text => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return [r, g, b, a]; };
const over = ([r, g, b, a], below) => [r, g, b].map((c, i) => c * a + below[i] * (1 - a));
const dark = getComputedStyle(document.documentElement).colorScheme === 'dark';
const kinds = new Map(), backgrounds = new Map(), seen = new Set(), low = new Set();
function kind(e) {
    if (!e) return '';
    if (!kinds.has(e)) kinds.set(e, `${kind(e.parentElement)}>${e.tagName}.${e.className}#${e.getAttribute('style')}`);
    return kinds.get(e);
}
function background(e) {
    if (!e) return dark ? [18, 18, 18] : [255, 255, 255];
    if (!backgrounds.has(e)) {
        const colour = rgba(getComputedStyle(e).backgroundColor);
        backgrounds.set(e, over(colour, colour[3] === 1 ? [0, 0, 0] : background(e.parentElement)));
    }
    return backgrounds.get(e);
}
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement, text = node.data.trim();
    if (!text || seen.has(kind(element)) || element.closest('script, style, noscript, svg, option')) continue;
    const style = getComputedStyle(element);
    if (!element.checkVisibility() || style.visibility === 'hidden' || !element.getClientRects().length) continue;
    seen.add(kind(element));
    const below = background(element), colour = over(rgba(style.color), below);
    const [light, dark] = [luminance(below), luminance(colour)].sort((a, b) => b - a);
    const ratio = (light + 0.05) / (dark + 0.05);
    const size = parseFloat(style.fontSize), large = size >= 24 || size >= 18.66 && style.fontWeight >= 700;
    if (ratio < (large ? 3 : 4.5))
        low.add(`${ratio.toFixed(1)} ${style.color} on ${below.map(Math.round)}: ${text.slice(0, 30)}`);
}
return [...low];
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
KINDS = ("index", "lab_05", "lab_18", "compare", "mistakes", "api", "group__cards__sysv", "sysv__create_8c")


def pages_of(directory, edition):
    """Returns all pages of the student's edition, and a few of the others that differ from it."""
    if edition == "student":
        return sorted((directory / edition).glob("*.html"))
    few = {"plain": ("lab_05", "compare", "group__cards__sysv"), "instructor": ("solutions", "solution_05", "solution_18")}
    return [directory / edition / f"{name}.html" for name in few[edition]]


def complaints(browser, page, *scripts):
    """Returns the browser's error messages, and what is wrong in light and in dark colours."""
    browser.colours("light")
    found = browser.open(page)
    for script in scripts:
        found += browser.run(script)
    browser.colours("dark")
    found += [f"dark: {text}" for text in browser.run(CONTRAST)]
    return [f"{page.stem}: {text}" for text in found]


@pytest.mark.parametrize("edition", EDITIONS)
def test_every_page_on_a_telephone(browser, site, edition):
    """No browser errors, names for all controls, enough contrast in light and dark, nothing too wide."""
    browser.window(NARROW)
    wrong = []
    for page in pages_of(site, edition):
        wrong += complaints(browser, page, NAMES, CONTRAST, LAYOUT)
        assert len(wrong) < 60, "\n".join(wrong)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("edition", ["student", "plain"])
def test_pages_with_the_side_bar(browser, site, edition):
    """The same for a page of each kind in a wide window, which has a side bar."""
    browser.window(WIDE)
    wrong = []
    for kind in KINDS:
        wrong += complaints(browser, site / edition / f"{kind}.html", NAMES, CONTRAST)
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
        wrong += [text for script in (NAMES, CONTRAST, LAYOUT) for text in browser.run(script)]
        box = browser.run("return document.getElementById('search-panel').getBoundingClientRect().toJSON()")
        assert box["left"] >= 0 and box["right"] <= size[0] and box["bottom"] <= size[1], box
    assert not wrong, "\n".join(wrong)
    browser.colours("light")


def test_hint_opens_by_keyboard(browser, site):
    browser.window(WIDE)
    browser.open(site / "student" / "lab_05.html")
    browser.run("[...document.querySelectorAll('pre')].filter(e => e.compareDocumentPosition("
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
    assert browser.run(CONTRAST) == []
    assert not browser.driver.find_element(By.ID, "side-nav").is_displayed()
    browser.run("window.dispatchEvent(new Event('afterprint'))")
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
    assert [course_page.run(script) for script in (NAMES, CONTRAST, LAYOUT)] == [[], [], []]


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
