"""The record of a large course, without grading: what results.json would hold."""
import random

from shmlab.labs import all_labs
from shmlab.course import insight
from shmlab.results import FAILED, PASSED


def made_up(students, handed_in="2026-03-{:02} {:02}:{:02}:{:02}"):
    chance = random.Random(1)
    labs = [{"name": lab.name, "number": lab.number, "title": lab.title, "maximum": 10, "due": "2026-03-01 23:59:00",
             "checks": [{"name": one.name, "sentence": one.sentence, "points": one.points} for one in lab.checks()]} for lab in all_labs()]
    records = [_student(number, labs, chance, handed_in) for number in range(students)]
    labs = [{**lab, **insight.how_it_went(lab, records)} for lab in labs]
    return {"version": 1, "title": "Operating <systems>", "tier": "namespaces", "compiler": "cc", "sanitizers": False, "labs": labs,
            "ignored": ["notes.txt is ignored"], "similar": [], "changes": [], "race": [], "students": records}


def _student(number, labs, chance, handed_in):
    records = {lab["name"]: _lab(lab, chance, handed_in) for lab in labs}
    return {"name": f"Ada Constance <b>{number}</b> Ünïcode", "folder": f"Ada_Constance_{number}_{4000 + number}", "platform": "moodle",
            "platform_id": str(4000 + number), "id": str(4000 + number), "email": "", "login": "", "group": f"team {number // 3}",
            "section": "Monday", "kept": number == 4, "score": sum(lab["score"] for lab in records.values()),
            "maximum": 10 * len(labs), "notes": [], "labs": records}


def _lab(lab, chance, handed_in):
    missing = chance.random() < 0.05
    states = {one["name"]: "missing" if missing else PASSED if chance.random() < 0.8 else FAILED for one in lab["checks"]}
    score = sum(one["points"] for one in lab["checks"] if states[one["name"]] == PASSED)
    likely = {"mistake": f"{lab['name']}/mistake_{chance.randrange(8)}", "title": "Opens a segment that exists.", "likeness": 0.9}
    return {"state": "missing" if missing else "graded", "score": score, "maximum": 10, "score_in_time": score,
            "days_late": 0 if missing or chance.random() < 0.9 else 2, "time_from": "" if missing else "file", "extension": 0,
            "handed_in": None if missing else handed_in.format(*(chance.randint(1, most) for most in (28, 23, 59, 59))),
            "overrides": [{"check": "", "points": score, "instead_of": score, "reason": "at the desk"}] if chance.random() < .01 else [],
            "notes": ["the directory Lab5 was taken for 05_sysv_create"] if chance.random() < 0.05 else [],
            "resembles": [likely] if 0 < score < 10 and chance.random() < 0.5 else [], "checks": states}
