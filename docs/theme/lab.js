/* What Doxygen's pages lack: boxes that the keyboard scrolls, a choice of mistakes, hints that paper shows. */
"use strict";

(function () {
    const SCROLLING = "pre, figure, .fragment, .toc, div.memproto, table.markdownTable, table.memberdecls, " +
                      "table.fieldtable, table.params";

    /* What scrolls can be reached by the keyboard, and what does not is no stop on the way. */
    function scrollByKeyboard() {
        document.querySelectorAll(SCROLLING).forEach(box => {
            const scrolls = box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight;
            if (scrolls && /auto|scroll/.test(getComputedStyle(box).overflow)) {
                box.tabIndex = 0;
            } else {
                box.removeAttribute("tabindex");
            }
        });
    }

    document.addEventListener("DOMContentLoaded", () => {
        scrollByKeyboard();
        document.addEventListener("toggle", scrollByKeyboard, true);
    });
    window.addEventListener("load", scrollByKeyboard);
    window.addEventListener("resize", scrollByKeyboard);

    /* The page of common mistakes: two boxes, which choose a lab and a symptom. */
    document.addEventListener("DOMContentLoaded", () => {
        const form = document.querySelector(".choose");
        if (!form) {
            return;
        }
        const groups = Array.from(document.querySelectorAll(".known .symptom"));
        const count = document.createElement("output");

        function box(label, values) {
            const select = document.createElement("select"), named = document.createElement("label");
            select.append(new Option("all", ""), ...values.map(value => new Option(value, value)));
            select.addEventListener("change", show);
            named.append(label + " ", select);
            form.append(named);
            return select;
        }

        function show() {
            groups.forEach(group => {
                group.hidden = (lab.value && group.parentElement.dataset.lab !== lab.value) ||
                               (symptom.value && group.dataset.symptom !== symptom.value);
            });
            document.querySelectorAll(".known").forEach(known => {
                known.hidden = !known.querySelector(".symptom:not([hidden])");
                known.classList.toggle("narrowed", symptom.value !== "");
            });
            count.textContent = document.querySelectorAll(".known:not([hidden]) .symptom:not([hidden]) li").length + " mistakes";
        }

        const lab = box("Lab", Array.from(document.querySelectorAll(".known"), known => known.dataset.lab));
        const symptom = box("What I see", Array.from(new Set(groups.map(group => group.dataset.symptom))).sort());
        form.append(count);
        show();
    });

    let opened = [];
    window.addEventListener("beforeprint", () => {
        document.documentElement.classList.add("light-mode");
        opened = Array.from(document.querySelectorAll("details:not([open])"));
        opened.forEach(hint => { hint.open = true; });
    });
    window.addEventListener("afterprint", () => {
        document.documentElement.classList.remove("light-mode");
        opened.forEach(hint => { hint.open = false; });
    });
})();
