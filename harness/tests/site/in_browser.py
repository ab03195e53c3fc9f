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


class Found:
    """Searches. Inside the `with` block the driver is in the frame of results, if this Doxygen version uses one."""

    def __init__(self, browser, word):
        self.driver = browser.driver
        self.field = self.driver.find_element(By.ID, "MSearchField")
        self.field.send_keys(word)
        browser.until("return document.getElementById('MSearchResultsWindow').style.display === 'block'")

    def __enter__(self):
        frame = self.driver.find_element(By.ID, "MSearchResults")
        if frame.tag_name == "iframe":
            self.driver.switch_to.frame(frame)
        return self

    def __exit__(self, *_):
        self.driver.switch_to.default_content()


@pytest.mark.parametrize("word, title, page", [
    ("shmget", "shmget", "group__cards__sysv.html#"), ("SIGBUS", "SIGBUS", "group__cards__processes.html#"),
    ("nattch", "nattch", "group__cards__kernel.html#"), ("ENOSPC", "ENOSPC", "group__cards__errors.html#"),
    ("robust", "robust_mutex.c", "robust__mutex_8c.html")])
def test_search_finds(browser, site, word, title, page):
    browser.window(WIDE)
    browser.colours("light")
    assert browser.open(site / "student" / "lab_03.html") == []
    with Found(browser, word):
        link = browser.until(f"""
            const all = [...document.querySelectorAll('.SRSymbol')].filter(e => e.getClientRects().length);
            const found = all.find(e => e.textContent === {title!r});
            return found && (found.parentElement.querySelector('a.SRScope') || found).href + ' ' + found.href;""")
    assert page in link
    assert browser.driver.get_log("browser") == []


@pytest.mark.parametrize("word, place", [
    ("bus", "sigbus"), ("permission", "permissions"), ("file ex", "error_numbers"), ("ipcs", "leaks"), ("hang", "it_hangs")])
def test_search_leads_from_what_one_sees_to_the_answer(browser, site, word, place):
    browser.window(WIDE)
    browser.open(site / "student" / "index.html")
    with Found(browser, word):
        browser.until("return [...document.querySelectorAll('.SRSymbol')].find(e => e.getClientRects().length)").click()
    browser.until(f"return location.href.endsWith('failures.html#failures_{place}')")


def test_search_results_can_be_reached_by_keyboard(browser, site):
    browser.window(WIDE)
    browser.open(site / "student" / "lab_03.html")
    with Found(browser, "shmget") as found:
        browser.until("return [...document.querySelectorAll('.SRSymbol')].some(e => e.getClientRects().length)")
    found.field.send_keys(Keys.ENTER)
    with found:
        browser.until("return document.activeElement.textContent === 'shmget'")
        browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
    browser.until("return location.href.includes('group__cards__sysv.html#')")


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
