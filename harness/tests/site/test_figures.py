"""The figures: one for each lab, readable on a phone and in dark colours, each with a description as alternative text."""
import html
import re
import xml.etree.ElementTree as xml

import pytest

from shmlab import labs

DOCS = labs.ROOT / "docs"
FIGURES = sorted((DOCS / "figures").glob("*.svg"))
PAGES = sorted(DOCS.glob("*.md")) + sorted(labs.LABS.glob("*/README.md"))
SVG = "{http://www.w3.org/2000/svg}"
WIDTH = 360  # units; on a screen of 390 pixels a unit is about a pixel, so text of 12 units is readable


def description(figure):
    return html.unescape(re.search(r"<desc[^>]*>(.*?)</desc>", figure.read_text(), re.S).group(1))


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.stem)
def test_figure_is_self_contained_and_fits_a_telephone(figure):
    root = xml.parse(figure).getroot()
    left, top, width, height = map(float, root.get("viewBox").split())
    assert (left, top, width) == (0, 0, WIDTH) and root.get("role") == "img" and root.get("class") == "sf"
    name = f"fig-{figure.stem}"
    assert root.get("aria-labelledby") == f"{name}-title {name}-desc"
    assert {element.get("id") for element in root.iter() if element.get("id")} == {f"{name}-title", f"{name}-desc"}
    assert "font-size" not in figure.read_text(), "all text has the 12 units of the common style"
    for text in root.iter(SVG + "text"):
        classes = (text.get("class") or "").split()
        x, y, extent = float(text.get("x")), float(text.get("y")), len(text.text) * (7.3 if "m" in classes else 6.3)
        start = x - (extent / 2 if "c" in classes else extent if "e" in classes else 0)
        assert start > 0 and start + extent < width and 9 < y < height - 2, f"'{text.text}' may be cut off"
    for box in root.iter(SVG + "rect"):
        x, y = float(box.get("x", 0)), float(box.get("y", 0))
        assert x + float(box.get("width")) <= width and y + float(box.get("height")) <= height


def test_all_figures_have_one_style_for_light_and_dark():
    styles = {re.search(r"<style>.*?</style>", figure.read_text(), re.S).group(0) for figure in FIGURES}
    assert len(styles) == 1 and "prefers-color-scheme: dark" in styles.pop()


@pytest.mark.parametrize("lab", labs.all_labs(), ids=lambda lab: lab.name)
def test_lab_has_its_figure_in_its_handout(lab):
    assert f"](../../docs/figures/{lab.name}.svg)" in lab.handout.split("## Picture")[1].split("## Background")[0]


def test_every_figure_is_shown_and_its_alternative_text_is_its_description():
    shown = set()
    for page in PAGES:
        for alternative, path in re.findall(r"!\[([^\]]*)\]\(([^)]*)\)", page.read_text()):
            figure = (page.parent / path).resolve()
            if figure.parent == DOCS / "examples":
                continue  # what `make trace` has drawn: see test_examples.py
            assert figure in FIGURES, f"{page}: there is no figure {path}"
            assert alternative == description(figure), f"{page}: {path}"
            shown.add(figure)
    assert shown == set(FIGURES)
