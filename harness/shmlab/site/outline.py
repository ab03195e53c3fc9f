"""Gives Doxygen's pages an outline that screen readers can follow: landmarks, a skip link, headings in order.

Doxygen writes everything as `div`, the title too, and begins a handout's sections with another `h1`. The levels of its
headings differ between versions, so they are counted here. See WAI-ARIA 1.2, landmark roles.
"""
from __future__ import annotations

import re
from pathlib import Path
from typing import Match

SKIP = '<a class="skip" href="#doc-content">Skip to the text</a>'

# Doxygen's tag, and what stands in its place.
LANDMARKS = (
    (r"<body[^>]*>", rf"\g<0>\n{SKIP}"),
    (r'<div id="top">', '<div id="top" role="banner">'),
    (r'<div id="side-nav"', r'\g<0> role="navigation" aria-label="All pages"'),
    (r'<div class="toc">', r'<div class="toc" role="navigation" aria-label="On this page">'),
    (r'<div id="doc-content">', '<main id="doc-content" tabindex="-1">'),
    (r"</div><!-- doc-content -->", "</main><!-- doc-content -->"),
    (r'<div id="nav-path"', r'\g<0> role="contentinfo"'),
    (r'<div class="title">', '<div class="title" role="heading" aria-level="1">'))

HEADING = re.compile(r"<h(?P<level>[1-6])(?P<attributes>[^>]*)>(?P<text>.*?)</h(?P=level)>", re.S)
MEMBER = 'class="memtitle"'  # the name of a function or constant, which is below the heading of its kind
CONTENTS = "Table of Contents"


def in_order(page: str) -> str:
    """Returns a page whose headings begin with level 2, below its title, and skip no level."""
    levels = [int(found["level"]) for found in HEADING.finditer(page) if found["text"] != CONTENTS]
    shift, above = 2 - min(levels, default=2), 1

    def heading(found: Match[str]) -> str:
        nonlocal above
        if found["text"] == CONTENTS:
            return f'<h{found["level"]} aria-level="2"{found["attributes"]}>{CONTENTS}</h{found["level"]}>'
        level = min(int(found["level"]) + shift + (MEMBER in found["attributes"]), above + 1)
        above = level
        if MEMBER in found["attributes"]:  # the theme's style sheet knows it as an h2
            return f'<h2 aria-level="{level}"{found["attributes"]}>{found["text"]}</h2>'
        return f'<h{level}{found["attributes"]}>{found["text"]}</h{level}>'

    return HEADING.sub(heading, page)


def at_the_end(page: str) -> str:
    """Returns a page whose links to other pages stand below everything else. Doxygen adds its lists after a comment."""
    links = re.search(r'<nav class="turn".*?</nav>', page, re.S)
    end = page.rfind("</div><!-- contents -->")
    if not links or not re.sub("<[^>]*>", "", page[links.end():end]).strip():
        return page
    return page[:links.start()] + page[links.end():end] + links[0] + page[end:]


def outline(directory: Path) -> None:
    """Rewrites all pages of a site that Doxygen has built."""
    for path in directory.glob("*.html"):
        page = path.read_text(encoding="utf-8")
        for tag, better in LANDMARKS:
            page = re.sub(tag, better, page, count=1)
        path.write_text(in_order(at_the_end(page)), encoding="utf-8")
