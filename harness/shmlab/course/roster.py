"""Who is in the course: reads the roster, and finds each submission's person in it.

A submission belongs to a person by the platform's id, the login, the e-mail address or the name, however the platform writes the
name. The submission of a group counts for all its members. Who handed in nothing gets a submission without files.
"""
from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Sequence, Set, Tuple

from . import intake
from .intake import Submission
from .results_directory import identity
from .tables import first_of, folded, read_rows
from ..labs import UserError

COLUMNS = ("name", "id", "email", "login", "group", "section")
NOBODY = "this submission belongs to no student in the roster"
Pair = Tuple[Submission, Optional["Person"]]


@dataclass(frozen=True)
class Person:
    """A line of the roster; what it does not say is empty."""

    name: str = ""
    id: str = ""
    email: str = ""
    login: str = ""
    group: str = ""
    section: str = ""
    where: str = field(default="", compare=False)  # "roster.csv, line 3"

    @property
    def words(self) -> List[str]:
        """What a table or a directory can call this person."""
        return [word for word in (self.name, self.id, self.email, self.login) if word]


def read_roster(path: Path) -> List[Person]:
    """Reads the roster. Raises UserError, with one line of text, for a line that names nobody, or somebody for the second time."""
    people: List[Person] = []
    lines: Dict[Tuple[str, str], str] = {}
    for row in read_rows(path, (), COLUMNS, others=True):
        person = Person(**{column: intake.shown_name(row.cells[column])[0] for column in COLUMNS}, where=row.where)
        if not (person.name or person.id):
            raise row.wrong("name", f"this line has neither a name nor an id; the columns are {', '.join(COLUMNS)}")
        alike = [("id", person.id), ("email", person.email), ("login", person.login)]
        if not person.id:
            alike.append(("name", person.name))  # with ids there may be two of one name
        for column, value in alike:
            first = lines.setdefault((column, folded(value)), row.where) if value else row.where
            if first != row.where:
                raise row.wrong(column, f"'{value}' is on two lines, the first is {first}"
                                + ("; two of one name need an id" if column == "name" else ""))
        people.append(person)
    if not people:
        raise UserError(f"{path}: there is no student in it: write a line for each student, with the columns {', '.join(COLUMNS)}")
    return people


def _squeezed(name: str) -> str:
    """Returns a name as Canvas writes it before the ids: lower case, without spaces and punctuation."""
    return re.sub(r"[\W_]", "", folded(name))


def _orders(name: str) -> Set[str]:
    """Returns a person's name as a platform may write it: "Lovelace, Ada" is also "Ada Lovelace", and the other way round."""
    words = name.replace(",", " ").split()
    return {_squeezed("".join(words[start:] + words[:start])) for start in range(len(words))} - {""}


class Matcher:
    """Finds people by what submissions are called."""

    def __init__(self, people: Sequence[Person]) -> None:
        self._by: Dict[str, Dict[str, List[Person]]] = {column: {} for column in COLUMNS}
        self._by_order: Dict[str, List[Person]] = {}
        self._by_squeezed_group: Dict[str, List[Person]] = {}
        for person in people:
            for column in COLUMNS:
                value = getattr(person, column)
                if value:
                    self._by[column].setdefault(folded(value), []).append(person)
            for order in _orders(person.name):
                self._by_order.setdefault(order, []).append(person)
            if _squeezed(person.group):
                self._by_squeezed_group.setdefault(_squeezed(person.group), []).append(person)

    def people(self, one: Submission) -> List[Person]:
        """Returns the people who may have handed this in: nobody, one, or several of one name."""
        name = folded(one.name)
        searches = [("id", folded(one.platform_id))] if one.platform_id else [("id", name)]
        for column, word in [*searches, ("login", name), ("email", name), ("name", name)]:
            if word in self._by[column]:
                return self._by[column][word]
        return []

    def alike(self, one: Submission) -> List[Person]:
        """Returns the people whose name is the same but for the order of its parts, spaces and punctuation.

        In an assignment for groups Moodle writes the group and "-" before the name.
        """
        found = list(self._by_order.get(_squeezed(one.name), []))
        parts = one.name.split("-")
        for place in range(1, len(parts)):
            group, name = _squeezed("-".join(parts[:place])), _squeezed("-".join(parts[place:]))
            found += [person for person in self._by_order.get(name, []) if person.group and _squeezed(person.group) == group]
        return found

    def members(self, one: Submission) -> List[Person]:
        """Returns the members of the group that handed this in; none if it is not called as a group, or also as a person.

        A group's id on the platform can be the same as a person's id, so it says nothing.
        """
        name, squeezed = folded(one.name), _squeezed(one.name)
        if name in self._by["name"] or squeezed in self._by_order:
            return []
        found = self._by["group"].get(name, self._by_squeezed_group.get(squeezed, []))
        return found if len({folded(person.group) for person in found}) == 1 else []


def match(submissions: Iterable[Submission], people: Sequence[Person], before: Iterable[Submission]) -> Tuple[List[Pair], List[Pair]]:
    """Finds the person of each submission, and of each one of earlier runs.

    The first list has the submissions, each group's one for each member, and one without files for each person who has none. The
    second has those of earlier runs that stay in the tables.
    """
    matcher = Matcher(people)
    own: List[Pair] = []
    groups: List[Tuple[Submission, List[Person]]] = []
    found: Dict[Person, Submission] = {}
    alone: List[Tuple[Submission, List[Person]]] = []
    for one in submissions:
        members = matcher.members(one)
        if members:
            groups.append((one, members))
        else:
            alone.append((one, matcher.people(one)))
    # An exact name comes first, and a likeness that fits two decides nothing. Where ids are the platform's, another id is another person.
    named = {person for _, candidates in alone for person in candidates}
    has_ids = any(person.id and folded(person.id) == folded(one.platform_id) for one, candidates in alone for person in candidates)
    alike = [[] if candidates else [person for person in matcher.alike(one) if person not in named and not (has_ids and person.id)]
             for one, candidates in alone]
    times = Counter(person for people in alike for person in people)
    for (one, candidates), likely in zip(alone, alike):
        candidates = candidates or likely
        person = candidates[0] if len(candidates) == 1 and times[candidates[0]] < 2 else None
        if len(candidates) > 1:
            one.notes.append(f"{len(candidates)} in the roster have this name: only the platform's id tells which one it is")
        elif not person:
            one.notes.append(NOBODY)
        elif person in found:
            one.notes.append(f"{person.name or person.id} of the roster has another submission, too; each is graded separately")
            person = None
        if person:
            found[person] = one
        own.append((one, person))
    for one, members in groups:
        for person in members:
            if person in found:
                found[person].notes.append(f"the group {one.name} has handed in, too: this submission counts")
                continue
            found[person] = _made_for(person, one.platform, one.sources, one.late,
                                      [*one.notes, f"handed in by the group {one.name}, and counts for all its members"])
            own.append((found[person], person))
    now = {identity(one) for one, _ in own}
    old: List[Pair] = []
    for one in before:
        candidates = matcher.people(one) or matcher.alike(one)
        person = candidates[0] if len(candidates) == 1 else None
        # A group is not a student, and who handed in somewhere else before has handed in anew.
        if not matcher.members(one) and (identity(one) in now or person not in found):
            old.append((one, person))
    have = {person for _, person in old} | set(found)
    platform = next((one.platform for one in submissions if one.platform), "")
    own += [(_made_for(person, platform), person) for person in people if person not in have]
    return own, old


def unmatched(pairs: Iterable[Pair]) -> str:
    """Returns a line if both submissions and people are left that belong to nobody, as they may belong together; else an empty text."""
    strangers = [f"{one.name} ({one.platform_id})" if one.platform_id and one.platform_id not in one.name else one.name
                 for one, person in pairs if person is None and NOBODY in one.notes]
    absent = [f"{person.where} ({person.name or person.id})" for one, person in pairs if person and not (one.sources or one.notes)]
    if not strangers or not absent:
        return ""
    return (f"{len(strangers)} {'submission belongs' if len(strangers) == 1 else 'submissions belong'} to no student in the roster: "
            f"{first_of(strangers, '; ')}. Nothing was handed in by {first_of(absent, '; ')}. If they are the same, write the id "
            "of the submission into the roster's column id")


def _made_for(person: Person, platform: str, sources: Sequence[Path] = (), late: Optional[bool] = None,
              notes: Sequence[str] = ()) -> Submission:
    name = person.name or person.id
    made = Submission(name, "", list(sources), platform if person.id else "", person.id if platform else "", late, list(notes))
    made.directory = intake.directory_of(made, name)
    return made


def words(submissions: Iterable[Pair]) -> Dict[str, Set[str]]:
    """Returns the directories of all submissions that a word, folded, can mean."""
    found: Dict[str, Set[str]] = {}
    for one, person in submissions:
        for word in {one.name, one.platform_id, *(person.words if person else [])} - {""}:
            found.setdefault(folded(word), set()).add(one.directory)
    return found


def groups(submissions: Iterable[Pair]) -> Dict[str, Set[str]]:
    """Returns the directories of each group's members, by the group's name, folded."""
    found: Dict[str, Set[str]] = {}
    for one, person in submissions:
        if person and person.group:
            found.setdefault(folded(person.group), set()).add(one.directory)
    return found
