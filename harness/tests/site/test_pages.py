"""The pages' links work, also on a code-hosting site that shows the files unconverted."""
import re

import pytest

from shmlab import labs

DOCS = labs.ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md")) + sorted(labs.LABS.glob("*/README.md")) + [labs.ROOT / "README.md"]


def prose(page):
    """Removes code, in which brackets are not links."""
    return re.sub(r"`[^`\n]*`", "`", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S))


def anchors(page):
    """Returns the anchors that code-hosting sites give to the headings."""
    headings = re.findall(r"^#+ (.*?)(?: \{#\w+\})?$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(labs.ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(path), f"{page.name} links to {target}"


def test_the_welcome_page_leads_to_every_page():
    text = (DOCS / "welcome.md").read_text()
    for page in PAGES:
        if page.parent != labs.ROOT and page.name not in ("welcome.md", "teaching.md"):  # only instructors get that
            assert f"]({page.name})" in text or f"](../labs/{page.parent.name}/README.md)" in text, page
