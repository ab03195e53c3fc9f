"""The course's page stays small, and nothing in it comes from a name. in_browser.py opens it."""
import json
import re

from made_up_results import made_up

from shmlab.course import pages


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])


def test_a_thousand_students_are_at_most_three_megabytes(tmp_path):
    record = made_up(1000)
    pages.write_course(tmp_path, record)
    page = (tmp_path / "index.html").read_bytes()
    assert len(page) <= 3_000_000
    data = data_of(page.decode())
    assert [len(data["students"]), len(data["labs"]), len(data["students"][0][8])] == [1000, 19, 19]
    assert [one[5] for one in data["students"]] == [one["score"] for one in record["students"]]
    assert "http:" not in page.decode() and "https:" not in page.decode(), "it needs no network"


def test_names_and_texts_are_data_and_nothing_else(tmp_path):
    record = made_up(2)
    one, lab = record["students"][0], record["students"][0]["labs"]["05_sysv_create"]
    one.update(name="</script><script>alert(1)</script>\x1b\u202e\u2028&amp;", group="<!--", folder='a"b')
    lab.update(state="graded", handed_in="2026-03-01 12:00:00", notes=["</script>"], overrides=[
        {"check": "", "points": 1, "instead_of": 0, "reason": "<img src=x onerror=alert(1)>"}])
    pages.write_course(tmp_path, record)
    page = (tmp_path / "index.html").read_text()
    assert page.count("</script>") == 2 and "<img" not in page and "<!--" not in page and "\x1b" not in page and "\u202e" not in page
    data = data_of(page)
    assert data["students"][0][0] == "</script><script>alert(1)</script>\\x1b\\u202e\u2028&amp;"
    cell = data["students"][0][8][4]
    assert cell[0] == lab["score"] and data["texts"][cell[3]] == "Handed in 2026-03-01 12:00:00 (time of the file)"
    assert "onerror" in data["texts"][cell[4]]


def test_without_script_the_page_says_where_the_points_are(tmp_path):
    pages.write_course(tmp_path, made_up(1))
    note = re.search(r"<noscript>(.*?)</noscript>", (tmp_path / "index.html").read_text(), re.S)[1]
    assert 'href="grades.csv"' in note and "JavaScript" in note
