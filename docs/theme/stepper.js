/* The stepper: the reader chooses which process takes the next step. The models are those of docs/play/stories.json, which
   harness/shmlab/site/stories.py describes and runs as well; a test compares the two. */
"use strict";

(function () {
    /* ---- a model: states are never changed, only replaced ---- */

    const OPERATORS = {"+": (a, b) => a + b, "-": (a, b) => a - b, "==": (a, b) => +(a === b), "!=": (a, b) => +(a !== b),
                       "<": (a, b) => +(a < b), "and": (a, b) => +(!!a && !!b)};

    /* The lines and registers of a process: `as` takes those of another one, `like` those of another variant. */
    function processOf(story, variant, wanted) {
        let source = wanted, from = variant;
        while (!source.lines) {
            if (source.like) {
                from = story.variants.find(one => one.id === source.like);
                source = from.processes.find(one => one.name === source.name);
            } else {
                source = from.processes.find(one => one.name === source.as);
            }
        }
        return {name: wanted.name, lines: source.lines, first: Object.assign({}, source.set, wanted.set)};
    }

    class Model {
        constructor(story, variant) {
            this.story = story;
            this.variant = variant;
            this.processes = variant.processes.map(one => processOf(story, variant, one));
            this.robust = variant.robust || story.robust || [];
            this.known = new Map();
            this.start = {
                memory: story.memory, sleepers: [], kills: story.kills || 0,
                processes: this.processes.map(one => ({registers: one.first, next: 0, end: "", asleep: "", buffer: []})),
            };
        }

        value(state, expression, index) {
            if (typeof expression === "number") {
                return expression;
            }
            if (Array.isArray(expression)) {
                const [operator, left, right] = expression;
                return OPERATORS[operator](this.value(state, left, index), this.value(state, right, index));
            }
            if (expression === "stuck") {
                return +state.processes.some(process => !process.end);
            }
            if (expression === "died") {
                return +state.processes.some(process => process.end.startsWith("SIG") && process.end !== "SIGKILL");
            }
            if (index !== undefined) {
                const process = state.processes[index];
                if (expression === "me") {
                    return index + 1;
                }
                if (expression === "drained") {
                    return +!process.buffer.length;
                }
                if (expression in process.registers) {
                    return process.registers[expression];
                }
            }
            return state.memory[expression];
        }

        canStep(state, index) {
            const process = state.processes[index];
            if (process.end || process.asleep) {
                return false;
            }
            const line = this.processes[index].lines[process.next];
            return "when" in line ? !!this.value(state, line.when, index) : true;
        }

        actions(state) {
            let possible = "";
            state.processes.forEach((process, index) => {
                possible += this.canStep(state, index) ? this.processes[index].name : "";
                possible += process.buffer.length ? this.processes[index].name.toLowerCase() : "";
            });
            state.processes.forEach((process, index) => {
                possible += possible && !process.end && state.kills ? "XYZ"[index] : "";
            });
            return possible;
        }

        changed(state, index, changes) {
            const processes = state.processes.slice();
            processes[index] = Object.assign({}, processes[index], changes);
            return Object.assign({}, state, {processes});
        }

        stored(state, name, value) {
            return Object.assign({}, state, {memory: Object.assign({}, state.memory, {[name]: value})});
        }

        act(state, action) {
            if ("XYZ".includes(action)) {
                return this.kill(state, "XYZ".indexOf(action));
            }
            const index = this.processes.findIndex(one => one.name === action.toUpperCase());
            if (action === action.toLowerCase()) {
                const [[name, value], ...left] = state.processes[index].buffer;
                return this.changed(this.stored(state, name, value), index, {buffer: left});
            }
            const {lines} = this.processes[index], at = state.processes[index].next;
            let after = this.changed(state, index, {next: at + 1});
            for (const op of lines[at].do) {
                after = this.perform(after, index, op);
            }
            const {next, end} = after.processes[index];
            return next >= lines.length && !end ? this.changed(after, index, {end: "ended"}) : after;
        }

        kill(state, index) {
            const memory = {};
            for (const [name, value] of Object.entries(state.memory)) {
                memory[name] = this.robust.includes(name) && value === index + 1 ? -value : value;
            }
            const sleepers = state.sleepers.filter(([, who]) => who !== index);
            return this.changed(Object.assign({}, state, {memory, sleepers, kills: state.kills - 1}), index,
                                {end: "SIGKILL", asleep: ""});
        }

        perform(state, index, [word, ...rest]) {
            const process = state.processes[index];
            const set = (name, value) => this.changed(state, index,
                                                      {registers: Object.assign({}, process.registers, {[name]: value})});
            switch (word) {
            case "load": {
                const own = process.buffer.filter(([name]) => name === rest[1]).pop();
                return set(rest[0], own ? own[1] : state.memory[rest[1]]);
            }
            case "set":
                return set(rest[0], this.value(state, rest[1], index));
            case "store": {
                const value = this.value(state, rest[1], index);
                return this.story.weak ? this.changed(state, index, {buffer: [...process.buffer, [rest[0], value]]})
                                       : this.stored(state, rest[0], value);
            }
            case "if":
                return (this.value(state, rest[0], index) ? rest[1] : rest[2]).reduce((now, op) => this.perform(now, index, op), state);
            case "jump":
                return this.changed(state, index, {next: rest[0]});
            case "again":
                return this.changed(state, index, {next: process.next - 1});
            case "sleep":
                return this.changed(Object.assign({}, state, {sleepers: [...state.sleepers, [rest[0], index]]}), index,
                                    {asleep: rest[0]});
            case "wake": {
                const woken = state.sleepers.find(([queue]) => queue === rest[0]);
                return !woken ? state : this.changed(
                    Object.assign({}, state, {sleepers: state.sleepers.filter(pair => pair !== woken)}), woken[1], {asleep: ""});
            }
            default: /* die, end */
                return this.changed(state, index, {end: rest[0] || "ended"});
            }
        }

        /* Whether an end is wrong, and what to say about it. */
        end(state) {
            const [, kind, text] = this.story.ends.find(([condition]) => this.value(state, condition));
            return {bad: kind === "bad", text: text.replace(/\{(\w+)\}/g, (_, name) => state.memory[name])};
        }

        /* All schedules from a state: how many there are, how many are wrong, and how many come to each end. */
        count(state) {
            const key = JSON.stringify(state);
            let found = this.known.get(key);
            if (!found) {
                const possible = this.actions(state);
                found = {all: 0, bad: 0, ends: new Map()};
                for (const action of possible) {
                    const below = this.count(this.act(state, action));
                    found.all += below.all;
                    found.bad += below.bad;
                    below.ends.forEach((number, text) => found.ends.set(text, (found.ends.get(text) || 0) + number));
                }
                if (!possible) {
                    const {bad, text} = this.end(state);
                    found = {all: 1, bad: +bad, ends: new Map([[text, 1]])};
                }
                this.known.set(key, found);
            }
            return found;
        }

        /* A wrong schedule with as few switches between processes as there can be, or "". */
        bad() {
            let front = [{state: this.start, schedule: "", switches: 0}];
            const seen = new Map();
            while (front.length) {
                front.sort((a, b) => a.switches - b.switches || a.schedule.length - b.schedule.length);
                const {state, schedule, switches} = front.shift();
                const possible = this.actions(state), last = schedule.slice(-1);
                if (!possible && this.end(state).bad) {
                    return schedule;
                }
                for (const action of possible) {
                    const more = switches + +(!!last && who(last) !== who(action)), after = this.act(state, action);
                    const key = who(action) + JSON.stringify(after);
                    if (this.count(after).bad && !(seen.get(key) <= more)) {
                        seen.set(key, more);
                        front.push({state: after, schedule: schedule + action, switches: more});
                    }
                }
            }
            return "";
        }
    }

    function who(action) {
        return "XYZ".includes(action) ? "ABC"["XYZ".indexOf(action)] : action.toUpperCase();
    }

    /* ---- the page ---- */

    function make(kind, attributes, ...children) {
        const element = document.createElement(kind);
        for (const [name, value] of Object.entries(attributes || {})) {
            if (name.startsWith("on")) {
                element.addEventListener(name.slice(2), value);
            } else {
                element.setAttribute(name, value);
            }
        }
        element.append(...children);
        return element;
    }

    function button(text, key, act) {
        return make("button", {type: "button", onclick: act}, text, ...(key ? [" ", make("kbd", {"aria-hidden": "true"}, key)] : []));
    }

    /* A button that does nothing now keeps its focus, so that the keyboard does not lose its place. */
    function enable(element, possible) {
        element.setAttribute("aria-disabled", String(!possible));
    }

    /* Where a number stands for something, such as the owner of a mutex. */
    function shown(story, name, value) {
        return (story.words && story.words[name] || {})[value] || String(value);
    }

    /* The names of the registers that some operations set. */
    function registersIn(ops) {
        return ops.reduce((found, [word, name, ...rest]) => found.concat(
            word === "load" || word === "set" ? [name] : word === "if" ? rest.reduce((all, inner) => all.concat(registersIn(inner)), []) : []), []);
    }

    function row(items) {
        return make("dl", {class: "cells"}, ...items.map(([name, value, fresh]) =>
            make("div", fresh ? {class: "fresh"} : {}, make("dt", {}, name), make("dd", {}, String(value)))));
    }

    class Page {
        constructor(root, stories, found) {
            this.root = root;
            this.stories = stories;
            this.found = found;
            const choice = (label, options, act) => {
                const select = make("select", {onchange: act}, ...options);
                root.append(make("label", {}, label + " ", select));
                return select;
            };
            this.storySelect = choice("Story", stories.map(one => make("option", {value: one.id}, one.title)), () => this.choose());
            this.variantSelect = choice("Code", [], () => this.restart());
            this.about = make("p");
            this.memory = make("section", {class: "memory", "aria-label": "Shared memory"});
            this.buttons = make("p", {class: "row"});
            this.lanes = make("div", {class: "lanes"});
            this.said = make("p", {class: "said", role: "status"});
            this.undoButton = button("Undo", "←", () => this.go(this.at - 1));
            this.redoButton = button("Redo", "→", () => this.go(this.at + 1));
            this.restartButton = button("Start again", "Home", () => this.go(0));
            this.badButton = button("Show me a bad schedule", "S", () => this.show(this.model.bad()));
            this.foundButton = button("The one that make explore found", "F", () => this.show(this.foundSchedule()));
            this.counts = make("div", {class: "counts"});
            this.steps = make("ol", {class: "taken"});
            root.append(this.about, make("div", {class: "desk"}, this.memory, this.buttons, this.said), this.lanes,
                        make("p", {class: "row"}, this.undoButton, this.redoButton, this.restartButton),
                        make("p", {class: "row"}, this.badButton, this.foundButton), this.counts,
                        make("details", {open: ""}, make("summary", {}, "The steps taken"), this.steps));
            root.addEventListener("keydown", event => this.key(event));
            const wanted = stories.find(one => "#" + one.id === location.hash);
            this.storySelect.value = (wanted || stories[0]).id;
            this.choose();
            if (wanted) {
                window.addEventListener("load", () => root.scrollIntoView());
            }
        }

        choose() {
            this.story = this.stories.find(one => one.id === this.storySelect.value);
            this.variantSelect.replaceChildren(...this.story.variants.map(one => make("option", {value: one.id}, one.title)));
            this.restart();
        }

        restart() {
            const variant = this.story.variants.find(one => one.id === this.variantSelect.value);
            this.model = new Model(this.story, variant);
            this.schedule = "";
            this.states = [this.model.start];
            this.at = 0;
            this.about.replaceChildren(this.story.about + " ", make("strong", {}, variant.mistake ? this.story.goal : "Try the same here."));
            this.buildLanes();
            this.draw("");
        }

        foundSchedule() {
            return this.model.variant.mistake ? this.found[this.story.id] : "";
        }

        buildLanes() {
            this.lanes.replaceChildren();
            this.buttons.replaceChildren();
            this.laneParts = this.model.processes.map((process, index) => {
                const letter = process.name, heading = make("h2", {}), lines = make("ol", {}), cells = make("div");
                const step = button("Step " + letter, letter, () => this.take(letter));
                const drain = button("Flush " + letter, "⇧" + letter, () => this.take(letter.toLowerCase()));
                const kill = button("Kill " + letter, "XYZ"[index], () => this.take("XYZ"[index]));
                process.lines.forEach(line => lines.append(make("li", {}, make("code", {}, line.code))));
                this.lanes.append(make("section", {"aria-label": "Process " + letter}, heading, lines, cells));
                this.buttons.insertBefore(step, this.buttons.children[index] || null);
                this.buttons.append(...(this.story.weak ? [drain] : []), ...(this.story.kills ? [kill] : []));
                return {heading, lines, cells, step, drain, kill};
            });
        }

        /* Takes a step; what was undone before is forgotten. */
        take(action) {
            const state = this.states[this.at];
            if (!this.model.actions(state).includes(action)) {
                this.say(this.refusal(action));
                return;
            }
            if (this.schedule[this.at] !== action) {
                this.schedule = this.schedule.slice(0, this.at) + action;
                this.states = [...this.states.slice(0, this.at + 1), this.model.act(state, action)];
            }
            this.at++;
            this.draw(this.told(this.at - 1));
        }

        refusal(action) {
            const letter = who(action), state = this.states[this.at];
            const process = state.processes[this.model.processes.findIndex(one => one.name === letter)];
            return process.end ? `${letter} has ended.` : action !== letter ? "This is not possible now."
                : process.asleep ? `${letter} sleeps.` : `${letter} waits: its next line cannot run yet.`;
        }

        go(to) {
            if (to >= 0 && to < this.states.length) {
                const undone = to < this.at;
                this.at = to;
                this.draw(undone ? (to ? "Undone. Step " + to + "." : "At the start.") : this.told(to - 1));
            }
        }

        show(schedule) {
            if (!schedule) {
                this.say("This code has no wrong schedule.");
                return;
            }
            this.schedule = schedule;
            this.states = [this.model.start];
            for (const action of schedule) {
                this.states.push(this.model.act(this.states[this.states.length - 1], action));
            }
            this.at = schedule.length;
            this.draw("Undo and redo go through its steps.");
        }

        /* One action in words. */
        told(at) {
            const action = this.schedule[at], letter = who(action);
            const index = this.model.processes.findIndex(one => one.name === letter);
            const before = this.states[at], process = before.processes[index];
            const line = this.model.processes[index].lines[process.next];
            const said = "XYZ".includes(action) ? `${letter} is killed`
                : action === letter ? `${letter}: ${line.code.replace(/\s+/g, " ").trim()}`
                : `${letter}'s store of ${process.buffer[0][0]} = ${process.buffer[0][1]} leaves its store buffer`;
            const after = this.states[at + 1];
            const changes = Object.keys(after.memory).filter(name => after.memory[name] !== before.memory[name])
                .map(name => `${name} ${shown(this.story, name, before.memory[name])} → ${shown(this.story, name, after.memory[name])}`);
            return said + (changes.length ? "  [" + changes.join(", ") + "]" : "");
        }

        say(text) {
            this.said.textContent = text;
        }

        draw(text) {
            const state = this.states[this.at], before = this.states[Math.max(0, this.at - 1)];
            const possible = this.model.actions(state), over = !possible;
            this.memory.replaceChildren(make("strong", {}, "Shared memory"), row(this.story.show.map(
                name => [name, shown(this.story, name, state.memory[name]), state.memory[name] !== before.memory[name]])));
            this.laneParts.forEach((parts, index) => this.drawLane(parts, index, state, possible));
            enable(this.undoButton, this.at > 0);
            enable(this.redoButton, this.at + 1 < this.states.length);
            enable(this.restartButton, this.at > 0);
            const all = this.model.count(this.model.start), left = this.model.count(state);
            enable(this.badButton, all.bad);
            enable(this.foundButton, this.foundSchedule());
            this.said.className = "said";
            if (over) {
                const {bad, text: end} = this.model.end(state);
                this.said.className = bad ? "said bad" : "said good";
                this.say((bad ? "Wrong. " : "Right. ") + end + (text ? " " + text : ""));
            } else {
                this.say(text || "You are the scheduler: choose which process takes the next step.");
            }
            const ends = Array.from(all.ends).map(([end, number]) => make("li", {}, `${number} ${number === 1 ? "schedule" : "schedules"}: ${end}`));
            this.counts.replaceChildren(
                make("p", {}, make("strong", {class: "verdict"}, `All schedules: ${all.bad} of ${all.all} are wrong.`),
                     over || !this.at ? "" : ` From here: ${left.bad} of ${left.all}.`), make("ul", {}, ...ends));
            this.steps.replaceChildren(...Array.from(this.schedule, (_, at) =>
                make("li", at < this.at ? {} : {class: "undone"}, this.told(at))));
        }

        drawLane(parts, index, state, possible) {
            const {name} = this.model.processes[index], process = state.processes[index];
            const how = process.end === "ended" ? "has ended" : process.end ? "killed by " + process.end
                : process.asleep ? "sleeps at " + process.asleep : possible.includes(name) ? "can run" : "waits";
            parts.heading.textContent = `Process ${name}: ${how}`;
            Array.from(parts.lines.children).forEach((line, at) => {
                line.toggleAttribute("aria-current", at === process.next && !process.end);
                line.classList.toggle("done", at < process.next || !!process.end);
            });
            const names = new Set(registersIn([].concat(...this.model.processes[index].lines.map(line => line.do))));
            parts.cells.replaceChildren(
                ...(names.size ? [row(Array.from(names, register => [register, register in process.registers ? process.registers[register] : "–"]))] : []),
                ...(this.story.weak ? [make("p", {class: "buffer"}, "Store buffer: " +
                    (process.buffer.map(([target, value]) => `${target} = ${value}`).join(", ") || "empty"))] : []));
            enable(parts.step, possible.includes(name));
            enable(parts.drain, possible.includes(name.toLowerCase()));
            enable(parts.kill, possible.includes("XYZ"[index]));
        }

        key(event) {
            if (event.ctrlKey || event.altKey || event.metaKey || event.target.tagName === "SELECT") {
                return;
            }
            const letter = event.key.length === 1 ? event.key.toUpperCase() : event.key;
            const names = this.model.processes.map(one => one.name);
            const acts = {ArrowLeft: () => this.go(this.at - 1), ArrowRight: () => this.go(this.at + 1), Home: () => this.go(0),
                          S: () => this.show(this.model.bad()), F: () => this.show(this.foundSchedule())};
            if (names.includes(letter)) {
                this.take(event.shiftKey && this.story.weak ? letter.toLowerCase() : letter);
            } else if ("XYZ".slice(0, names.length).includes(letter) && this.story.kills) {
                this.take(letter);
            } else if (acts[letter]) {
                acts[letter]();
            } else {
                return;
            }
            event.preventDefault();
        }
    }

    document.addEventListener("DOMContentLoaded", () => {
        const root = document.getElementById("stepper"), data = JSON.parse(document.getElementById("stepper_data").textContent);
        new Page(root, data.stories, data.found);
    });
})();
