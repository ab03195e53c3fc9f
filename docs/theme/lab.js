/* What Doxygen's pages lack: hints that paper shows, boxes that the keyboard can scroll, names for who cannot see. */
"use strict";

(function () {
    let opened = [];

    function beforePrint() {
        document.documentElement.classList.add("light-mode");
        opened = Array.from(document.querySelectorAll("details:not([open])"));
        opened.forEach(hint => { hint.open = true; });
    }

    function afterPrint() {
        document.documentElement.classList.remove("light-mode");
        opened.forEach(hint => { hint.open = false; });
    }

    window.addEventListener("beforeprint", beforePrint);
    window.addEventListener("afterprint", afterPrint);
})();
