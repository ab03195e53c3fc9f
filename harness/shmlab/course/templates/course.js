// Makes the tables of the course's page from the data in it: sorted by a click on a column's head, filtered by the field above.
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const MARKS = { p: ["✓", "passed"], f: ["✗", "failed"], e: ["!", "error"], m: ["–", "missing"] };
const students = data.students.map(([name, id, folder, group, section, score, maximum, kept, labs]) =>
  ({ name, id, folder, group, section, score, maximum, kept, labs,
     words: [name, id, group, section].join(" ").normalize("NFKC").toLowerCase() }));
const byName = new Intl.Collator("en", { numeric: true }).compare;

function element(name, text = "", attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) if (value) made.setAttribute(key, value);
  return made;
}

const shade = (score, maximum) => "g" + (maximum ? Math.min(5, Math.trunc(5 * score / maximum)) : 0);

const link = student => element("a", student.name, { href: `students/${encodeURIComponent(student.folder)}/report.html` });

function person(student) {
  const cell = element("th", "", { scope: "row", title: student.name + (student.kept ? " (kept from a run before)" : "") });
  cell.append(link(student));
  return cell;
}

// A lab of a student is [score, states of the checks, days late, text about the time, points by hand, note], 0 at the end left out.
function scoreCell(lab, [score, states, days = 0, , hand = 0, note = 0]) {
  const text = [days ? `${days} ${days === 1 ? "day" : "days"} late` : "", hand ? data.texts[hand] : ""].filter(Boolean).join("; ");
  if (states === "" && !hand) return element("td", "–", { class: "missing", title: note ? data.texts[note] : "nothing handed in" });
  return element("td", score + (hand ? "*" : "") + (states.includes("e") ? "!" : ""), { class: shade(score, lab.maximum), title: text });
}

// A column: its head, what a student is sorted by, and the student's cell.
const NAME = { head: "Student", key: student => student.name, cell: person };
const column = (head, title, key, cell) => ({ head, title, key, cell });

function courseColumns() {
  return [NAME, column("Score", "", student => student.score, student =>
    element("td", student.score, { class: shade(student.score, student.maximum) })),
    ...data.labs.map((lab, at) => column(lab.number, lab.title, student => student.labs[at][1] || student.labs[at][4] ? student.labs[at][0] : -1,
      student => scoreCell(lab, student.labs[at])))];
}

function labColumns(lab, at) {
  const mine = student => student.labs[at];
  return [NAME, ...lab.checks.map((sentence, number) => column(number + 1, sentence, student => "efmp".indexOf(mine(student)[1][number]), student => {
    const [mark, state] = MARKS[mine(student)[1][number]];
    return element("td", mark, { class: state, title: `${state}: ${sentence}` });
  })), column("Score", "", student => mine(student)[0], student => element("td", mine(student)[0])),
  ...(lab.due ? [{ head: "Handed in", left: "left", key: student => data.texts[mine(student)[3] || 0], cell: student =>
    element("td", data.texts[mine(student)[3] || 0], { class: "left" }) },
  column("Days late", "", student => mine(student)[2] || 0, student => element("td", mine(student)[2] || 0))] : [])];
}

// A table with all students of whom `has` is true; show() makes its rows.
function makeTable(place, columns, has) {
  const table = element("table"), head = element("tr"), body = element("tbody");
  let sorted = 0, turn = 1;
  columns.forEach(({ head: text, title, left }, at) => {
    const cell = element("th", "", { scope: "col", class: left, "aria-sort": at ? "none" : "ascending" });
    const button = element("button", text, { type: "button", title });
    button.addEventListener("click", () => {
      turn = at === sorted ? -turn : at ? -1 : 1;  // Numbers begin with the largest.
      head.children[sorted].setAttribute("aria-sort", "none");
      sorted = at;
      cell.setAttribute("aria-sort", turn > 0 ? "ascending" : "descending");
      show();
    });
    cell.append(button);
    head.append(cell);
  });
  table.append(element("thead"), body);
  table.tHead.append(head);
  place.append(table);
  function show() {
    const words = document.getElementById("filter").value.normalize("NFKC").toLowerCase().split(/\s+/);
    const key = columns[sorted].key;
    const compare = (a, b) => typeof key(a) === "string" ? byName(key(a), key(b)) : key(a) - key(b);
    const rows = students.filter(student => has(student) && words.every(word => student.words.includes(word)));
    if (sorted || turn < 0) rows.sort((a, b) => turn * compare(a, b));
    body.replaceChildren(...rows.map(student => {
      const row = element("tr");
      row.append(...columns.map(({ cell }) => cell(student)));
      return row;
    }));
    return rows.length;
  }
  return show;
}

const showCourse = makeTable(document.getElementById("students"), courseColumns(), () => true);
const shown = new Map();  // the labs that were opened: each one's details, and what shows its table
function openLab(details) {
  const at = data.labs.findIndex(lab => lab.name === details.id), place = details.querySelector(".students");
  if (shown.has(details) || !place) return;
  shown.set(details, makeTable(place, labColumns(data.labs[at], at), student => student.labs[at][1]));
  shown.get(details)();
}
function showAll() {
  const count = showCourse();
  document.getElementById("count").textContent = count === students.length ? "" : `${count} of ${students.length}`;
  shown.forEach(show => show());
}
document.getElementById("filter").addEventListener("input", showAll);
document.querySelectorAll("details").forEach(details => details.addEventListener("toggle", () => details.open && openLab(details)));
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(openLab));
document.querySelectorAll(".alike").forEach(list => list.dataset.who.split(" ").forEach((at, number) => {
  list.append(number ? ", " : "", link(students[at]));
}));
const openLinked = () => { const at = document.getElementById(location.hash.slice(1)); if (at && at.tagName === "DETAILS") at.open = true; };
addEventListener("hashchange", openLinked);
openLinked();
showAll();
