/* The slider of docs/lifetime.md. The stages are those of the page's table, and what is shown is the output on the page. */
"use strict";

(function () {
    const PANELS = {ipcs: "ipcs -m", ls: "ls -l /dev/shm", "$P": "/proc/PID/maps of the process", "$C": "/proc/PID/maps of its child"};

    /* The output of a run: for each stage, the lines that each command printed. */
    function stagesOf(text) {
        return text.split(/^== /m).slice(1).map(part => {
            const [name, ...lines] = part.trimEnd().split("\n"), shown = {};
            let panel = "";
            for (const line of lines) {
                if (/^\$\s/.test(line)) { /* a space, or one that does not break */
                    panel = Object.keys(PANELS).find(key => line.includes(key));
                    shown[panel] = [];
                } else if (line.trim()) {
                    shown[panel].push(line.trimEnd());
                }
            }
            return {name, shown};
        });
    }

    function make(kind, words, ...children) {
        const element = Object.assign(document.createElement(kind), words);
        element.append(...children);
        return element;
    }

    document.addEventListener("DOMContentLoaded", () => {
        const root = document.getElementById("lifetime");
        const runs = Array.from(document.querySelectorAll(".contents pre.console"), pre => stagesOf(pre.textContent));
        const rows = Array.from(document.querySelector(".contents table.markdownTable").rows).slice(1);
        const told = new Map(rows.map(row => [row.cells[0].textContent.trim(), row.cells]));
        const run = make("select", {}, make("option", {value: 0}, "removed before the end"), make("option", {value: 1}, "never removed"));
        const slider = make("input", {type: "range", min: 0, step: 1, value: 0});
        const names = make("div", {className: "ticks"}), said = make("div"), panels = make("div", {className: "panels"});
        said.setAttribute("role", "status");
        root.append(make("label", {}, "The names are ", run), make("label", {className: "wide"}, "Stage ", slider), names, said, panels);

        function draw() {
            const stages = runs[run.value], at = Number(slider.value), stage = stages[at], before = stages[at - 1];
            const [, does, look] = told.get(stage.name);
            slider.max = stages.length - 1;
            slider.setAttribute("aria-valuetext", `${at + 1} of ${stages.length}: ${stage.name}`);
            names.replaceChildren(...stages.map((one, index) => {
                const tick = make("button", {type: "button", onclick: () => { slider.value = index; draw(); names.children[index].focus(); }}, one.name);
                if (index === at) {
                    tick.setAttribute("aria-current", "step");
                }
                return tick;
            }));
            said.replaceChildren(make("p", {innerHTML: `<strong>${stage.name}</strong>: ${does.innerHTML}.`}),
                                 make("p", {innerHTML: run.value === "1" && stage.name === "kill" ? "Object and segment stay: their names still lead to them." : look.innerHTML}));
            panels.replaceChildren(...Object.entries(stage.shown).map(([key, lines]) => {
                const old = before && before.shown[key] || [];
                const pre = make("pre", {className: "text", tabIndex: 0}, ...(lines.length ? lines.map(line =>
                    make("span", {className: before && !old.includes(line) ? "fresh" : ""}, line + "\n")) : ["(nothing)\n"]));
                return make("section", {}, make("h2", {}, PANELS[key]), pre);
            }));
        }

        run.addEventListener("change", () => { slider.value = 0; draw(); });
        slider.addEventListener("input", draw);
        draw();
    });
})();
