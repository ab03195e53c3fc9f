/* What Doxygen's pages lack: names for who cannot see, boxes that the keyboard scrolls, hints that paper shows. */
"use strict";

(function () {
    const SCROLLING = ".fragment, div.memproto, table.markdownTable, table.memberdecls, " +
                      "table.fieldtable, table.params";

    const NAMES = [["MSearchField", "aria-label", "Search"], ["MSearchResults", "title", "What was found"],
                   ["MSearchClose", "aria-label", "Close the search"]];

    function giveNames() {
        for (const [id, attribute, text] of NAMES) {
            const element = document.getElementById(id);
            if (element && !element.hasAttribute(attribute)) {
                element.setAttribute(attribute, text);
            }
        }
    }

    document.addEventListener("DOMContentLoaded", () => {
        giveNames();
        /* The menu makes a new search box each time that the window becomes narrow or wide. */
        new MutationObserver(giveNames).observe(document.body, {childList: true, subtree: true});
        document.querySelectorAll(".headertitle > .title").forEach(title => {
            title.setAttribute("role", "heading");
            title.setAttribute("aria-level", "1");
        });
        document.querySelectorAll(SCROLLING).forEach(box => { box.tabIndex = 0; });
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
