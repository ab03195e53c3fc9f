/* The way from a pointer to its page, and the words for a line of maps. Everything shown is output on the page. */
"use strict";

(function () {
    const SVG = "http://www.w3.org/2000/svg";
    const LINE = /^([0-9a-f]+)-([0-9a-f]+) ([r-])([w-])([x-])([sp]) ([0-9a-f]+) ([0-9a-f]+:[0-9a-f]+) (\d+)\s*(.*)$/;

    function make(kind, words, ...children) {
        const element = Object.assign(document.createElement(kind), words);
        element.append(...children);
        return element;
    }

    /* What a line of maps says, as pairs of a column and a sentence; null if it is not such a line. */
    function words(line) {
        const found = LINE.exec(line.trim());
        if (!found) {
            return null;
        }
        const [, start, end, read, write, execute, kind, offset, device, inode, name] = found;
        const pages = (BigInt("0x" + end) - BigInt("0x" + start)) / 4096n;
        const may = [read === "r" && "load", write === "w" && "store", execute === "x" && "execute"].filter(Boolean).join(", ");
        const what = name.startsWith("/SYSV") ? `a System V segment with key 0x${name.slice(5, 13)} and shmid ${inode}`
            : name.startsWith("/dev/shm/") ? "a POSIX object" : name.startsWith("/memfd:") ? "a memfd"
            : name.startsWith("/dev/zero") ? "a shared anonymous mapping" : name.startsWith("[") ? "memory that the kernel names itself"
            : name ? "a file" : "private anonymous memory";
        return [
            ["range", `from 0x${start} up to, and without, 0x${end}: ${pages} ${pages === 1n ? "page" : "pages"} of 4096 bytes`],
            ["permissions", (may ? `the process may ${may}` : "the process may not touch it") +
                (kind === "s" ? "; shared: others see its stores" : "; private: a store makes a copy of the page")],
            ["offset", `begins at byte ${parseInt(offset, 16)} of the file or object`],
            ["device", device === "00:00" ? "no file system" : `device ${device}`],
            ["inode", inode === "0" && device === "00:00" ? "no inode" : `inode ${inode} there`],
            ["name", what + (name ? `: ${name}` : "") + (name.endsWith("(deleted)") && !name.startsWith("/SYSV") ? ", to which no name leads" : "")]];
    }

    /* What the run printed about a pointer: the lines after "WHOSE: pointer". */
    function pointers(text) {
        return Array.from(text.matchAll(/^(\w): pointer (0x[0-9a-f]+), (.*)\n {2}= (.*)\n {2}maps +(.*)\n {2}page table +(.*)$/gm),
                          ([, whose, pointer, when, number, line, entry]) => ({whose, pointer, when, number, line: line.trim(), entry}));
    }

    /* ---- the picture: two ways from the top, which meet at the page ---- */

    function shape(kind, attributes, text) {
        const element = document.createElementNS(SVG, kind);
        for (const [name, value] of Object.entries(attributes)) {
            element.setAttribute(name, value);
        }
        element.textContent = text || "";
        return element;
    }

    function box(id, x, y, width, title, text) {
        const group = shape("g", {id: "stop_" + id, class: "stop"});
        group.append(shape("rect", {x, y, width, height: 44, rx: 5}), shape("text", {x: x + width / 2, y: y + 18, class: "head"}, title),
                     shape("text", {x: x + width / 2, y: y + 35, class: "mono"}, text));
        return group;
    }

    function picture(a, b, inode) {
        const drawing = shape("svg", {viewBox: "0 0 360 392", role: "img", class: "way",
                                      "aria-label": "The pointers of A and B go through their own address spaces and page tables to one page of one inode."});
        const arrow = (x1, y1, x2, y2, id) => shape("path", {d: `M${x1} ${y1}L${x2} ${y2}`, class: "arrow", id: "arrow_" + id});
        const tail = pointer => "…" + pointer.slice(-7), number = pointer => "…" + pointer.slice(-7, -3);
        [[a, "a", 8], [b, "b", 188]].forEach(([one, id, x]) => {
            drawing.append(arrow(x + 82, 60, x + 82, 84, id + 1), arrow(x + 82, 132, x + 82, 156, id + 2),
                           arrow(x + 82, 204, id === "a" ? 150 : 210, 248, id + 3),
                           box(id + "_pointer", x, 14, 164, `pointer of ${one.whose}`, tail(one.pointer)),
                           box(id + "_space", x, 86, 164, `address space of ${one.whose}`, `rw-s ${one.line.split(/\s+/).pop()}`),
                           box(id + "_table", x, 158, 164, `page table of ${one.whose}`, `page ${number(one.pointer)}: present`));
        });
        drawing.append(arrow(180, 296, 180, 320, "5"), box("page", 62, 250, 236, "page cache", "page 1: byte 0x8a8 is 'x'"),
                       box("inode", 62, 322, 236, "inode " + inode, "the object, 2 pages"));
        return drawing;
    }

    document.addEventListener("DOMContentLoaded", () => {
        const root = document.getElementById("address"), pre = document.querySelector(".contents pre.console");
        const text = pre.textContent, all = pointers(text), inode = /inode (\d+) on device (\S+),/.exec(text);
        const a = all.find(one => one.when.startsWith("after a store")), b = all.find(one => one.whose === "B");
        const drawing = picture(a, b, inode[1]);
        const rows = Array.from(document.querySelector(".contents table.markdownTable").rows).slice(1);
        const stops = [["pointer", ["pointer"], one => `${one.pointer} = ${one.number}`], ["address space", ["space"], one => one.line],
                       ["page table", ["table"], one => one.entry], ["page cache", ["page"], one => `${one.whose} is at byte 0x8a8 of page 1 of inode ${inode[1]}`],
                       ["inode", ["inode"], () => `inode ${inode[1]} on device ${inode[2]}`]];
        const choices = make("div", {className: "ticks"}), said = make("div");
        said.setAttribute("role", "status");
        root.append(make("div", {className: "picture"}, make("div", {}, drawing), make("div", {}, choices, said)));

        function show(at) {
            const [title, ids, tell] = stops[at];
            drawing.querySelectorAll(".stop").forEach(group =>
                group.classList.toggle("now", ids.some(id => group.id === "stop_" + id || group.id.endsWith("_" + id))));
            Array.from(choices.children).forEach((choice, index) =>
                index === at ? choice.setAttribute("aria-current", "step") : choice.removeAttribute("aria-current"));
            const row = rows.find(one => one.cells[0].textContent.trim() === title);
            const lines = [["Process A", tell(a)], ["Process B", tell(b)]];
            said.replaceChildren(make("p", {innerHTML: `<strong>${title}</strong>: ${row.cells[1].innerHTML}`}),
                                 make("dl", {className: "pairs"}, ...lines.map(([who, what]) =>
                                     make("div", {}, make("dt", {}, who), make("dd", {}, make("code", {}, what))))),
                                 make("p", {innerHTML: `Where to see it: ${row.cells[2].innerHTML}`}));
        }

        stops.forEach(([title], at) => choices.append(make("button", {type: "button", onclick: () => show(at)}, `${at + 1} ${title}`)));
        choices.addEventListener("keydown", event => {
            const step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
            const next = step && choices.children[Array.from(choices.children).indexOf(document.activeElement) + step];
            if (next) {
                next.focus();
                next.click();
                event.preventDefault();
            }
        });
        show(0);

        /* ---- the lines of maps ---- */

        const lines = text.split("\n").filter(line => LINE.test(line.trim()) && !line.startsWith(" "));
        const list = make("div", {className: "lines"}), meaning = make("dl", {className: "pairs"});
        const own = make("input", {type: "text", spellcheck: false, autocomplete: "off"});
        const explain = line => {
            const pairs = words(line);
            Array.from(list.children).forEach(one => one.textContent === line ? one.setAttribute("aria-current", "true") : one.removeAttribute("aria-current"));
            meaning.replaceChildren(...(pairs || [["", "This is not a line of maps: it begins with two addresses in hexadecimal."]]).map(
                ([name, what]) => make("div", {}, make("dt", {}, name), make("dd", {}, what))));
        };
                lines.forEach(line => list.append(make("button", {type: "button", onclick: () => { own.value = line; explain(line); }}, line)));
        own.addEventListener("input", () => explain(own.value));
        root.append(make("h2", {}, "Ask a line of maps"), list, make("label", {className: "wide"}, "Or paste one of your own ", own), make("div", {ariaLive: "polite"}, meaning));
        own.value = lines.find(line => line.includes("rw-s"));
        explain(own.value);
    });
})();
