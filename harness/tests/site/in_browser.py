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
from selenium.webdriver.support.ui import Select, WebDriverWait

from shmlab.course import pages
from shmlab.site import docs, play, stories

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
KINDS = ("index", "lab_05", "lab_18", "compare", "mistakes", "api", "group__cards__sysv", "sysv__create_8c", "stepper", "address")


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
