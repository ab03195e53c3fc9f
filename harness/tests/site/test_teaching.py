"""The instructor's page about teaching names every lab, and its slides show every figure."""
import re
import shutil
from xml.etree import ElementTree

import pytest

from shmlab import labs
from shmlab.site import teaching


@pytest.mark.parametrize("lab", labs.all_labs(), ids=str)
def test_each_lab_has_three_outcomes_on_its_slide(lab):
    lines = teaching.outcomes()[lab.number]
    assert len(lines) == 3 and all(line.endswith(".") and len(line) < 90 for line in lines)
    slide = re.findall(rf'<section id="lab_{lab.number}">.*?</section>', teaching.slides(), re.S)[0]
    assert slide.count("<svg") == 1 and slide.count("<li>") == 3 and lab.title.replace("'", "&#x27;") in slide


def test_the_plans_and_the_parts_name_only_labs_that_exist():
    text = (labs.ROOT / "docs" / "teaching.md").read_text(encoding="utf-8")
    numbers = {lab.number for lab in labs.all_labs()}
    weeks = [row.split("|")[2:5] for row in re.findall(r"^\| \d+ \|.*$", text, re.M)]
    for plan in zip(*weeks):
        named = re.findall(r"\d\d", " ".join(plan))
        assert named and set(named) <= numbers and len(named) == len(set(named))
    assert set(re.findall(r"\d\d", " ".join(week[2] for week in weeks))) == numbers  # twelve weeks are enough for all


def test_the_estimate_grows_with_what_is_left_to_write(tmp_path, monkeypatch):
    lab = labs.find("05")
    shutil.copytree(labs.SOLUTIONS / lab.name, tmp_path / lab.name)
    monkeypatch.setattr(teaching, "SOLUTIONS", tmp_path)
    before = teaching.lines_to_write(lab), teaching.hours(lab)
    source = tmp_path / lab.name / "sysv_create.c"
    source.write_text(source.read_text(encoding="utf-8") + "\nint one_more;\n\n", encoding="utf-8")
    assert teaching.lines_to_write(lab) == before[0] + 1
    assert teaching.hours(lab) == pytest.approx(before[1] + teaching.MINUTES_A_LINE / 60)


def test_the_slides_are_one_well_formed_page():
    page = teaching.slides()
    body = page[page.index("<main>"):page.index("</main>") + len("</main>")]
    assert len(ElementTree.fromstring(body).findall("section")) == len(labs.all_labs())
