/* The questions of docs/which.md, one at a time. Questions and answers are those of the page's tables. */
"use strict";

(function () {
    function rowsAfter(heading) {
        const table = Array.from(document.querySelectorAll(".contents table.markdownTable")).find(one =>
            heading.compareDocumentPosition(one) & Node.DOCUMENT_POSITION_FOLLOWING);
        return Array.from(table.rows).slice(1).map(row => Array.from(row.cells));
    }

    function heading(text) {
        return Array.from(document.querySelectorAll(".contents h1, .contents h2, .contents h3")).find(one => one.textContent.trim() === text);
    }

    function copyOf(cell, kind) {
        const element = document.createElement(kind);
        element.innerHTML = cell.innerHTML;
        return element;
    }

    document.addEventListener("DOMContentLoaded", () => {
        const root = document.getElementById("which"), questions = rowsAfter(heading("The questions")), answers = rowsAfter(heading("The answers"));
        const given = []; /* the row and the answer of each question so far */
        const path = document.createElement("ol"), now = document.createElement("div");
        now.setAttribute("aria-live", "polite");
        root.append(path, now);

        function button(text, act) {
            const made = document.createElement("button");
            made.type = "button";
            made.textContent = text;
            made.addEventListener("click", act);
            return made;
        }

        function answer(question, yes) {
            given.push([question, yes]);
            draw(true);
        }

        /* Shows the question or the answer to which the answers so far lead. */
        function draw(focus) {
            path.replaceChildren(...given.map(([question, yes]) => {
                const item = copyOf(questions[question][1], "li");
                item.append(" ", Object.assign(document.createElement("strong"), {textContent: yes ? "Yes." : "No."}));
                return item;
            }));
            const [last, yes] = given[given.length - 1] || [];
            const target = last === undefined ? "question 1" : questions[last][yes ? 2 : 3].textContent.trim();
            const number = /^question (\d)$/.exec(target), row = document.createElement("p");
            row.className = "row";
            if (number) {
                const question = number[1] - 1, asked = copyOf(questions[question][1], "p");
                asked.className = "asked";
                row.append(button("Yes", () => answer(question, true)), button("No", () => answer(question, false)));
                now.replaceChildren(asked, row);
            } else {
                const [name, why, care, labs] = answers.find(cells => cells[0].textContent.trim() === target);
                const said = document.createElement("p");
                said.className = "said good";
                said.append("Use ", copyOf(name, "strong"), ". ", copyOf(why, "span"));
                const more = copyOf(care, "p"), where = document.createElement("p");
                where.append("Labs: ", copyOf(labs, "span"));
                now.replaceChildren(said, more, where, row);
            }
            if (given.length) {
                row.append(button("Back", () => { given.pop(); draw(true); }), button("Start again", () => { given.length = 0; draw(true); }));
            }
            if (focus) {
                row.querySelector("button").focus();
            }
        }

        draw(false);
    });
})();
