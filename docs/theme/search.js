/* The search box: sections, cards, rows, words and mistakes from search-index.js, found by lunr. */
"use strict";

(function () {
    const MOST = 10, CONTEXT = 180, ALIKE = 30;
    /* How much a word counts that was not found as it was typed. */
    const FORM = 0.2, SYNONYM = 0.7, BEGINNING = 0.6, TYPO = 0.4;
    /* How much more an entry counts that has all words side by side, or whose title they are. */
    const TOGETHER = 2, NAME = 4;

    /* ---- finding ---- */

    let index, entries, synonyms, vocabulary;

    const wordsOf = text => text.toLowerCase().match(/[\p{L}\p{N}_]+/gu) || [];
    const inSpaces = text => ` ${wordsOf(text).join(" ")} `;
    const stem = word => lunr.stemmer(new lunr.Token(word, {})).toString();
    const isStopWord = word => lunr.stopWordFilter(new lunr.Token(word, {})) === undefined;

    function open(data) {
        index = lunr.Index.load(data.index);
        entries = data.entries.map(([place, section, page, heading, title, messages, text]) =>
            ({place, section, page, heading, messages, text, name: inSpaces(title), words: inSpaces(`${title} ${messages} ${text}`)}));
        vocabulary = lunr.TokenSet.fromArray([...new Set(entries.flatMap(entry => entry.words.trim().split(" ")))].sort());
        synonyms = data.synonyms.flatMap(([typed, meant]) =>
            typed.map(phrase => [wordsOf(phrase).map(stem), wordsOf(meant)]));
    }

    /* Returns the entries that have a word, and how well each fits; `terms` collects what was found, as it is indexed. */
    function lookUp(word, weight, terms, found = new Map()) {
        for (const {ref, score} of index.query(query => query.term(stem(word), {usePipeline: false}))) {
            found.set(Number(ref), Math.max(found.get(Number(ref)) || 0, weight * score));
            terms.add(stem(word));
        }
        return found;
    }

    /* The same for a word as a reader types it: perhaps not yet to its end, or with a typing error. */
    function lookUpTyped(word, isLast, terms) {
        const found = lookUp(word, 1, terms);
        found.forEach((score, number) => found.set(number, entries[number].words.includes(` ${word} `) ? score : FORM * score));
        const alike = set => vocabulary.intersect(set).toArray().slice(0, ALIKE);
        if (word.length > 2 && (isLast || !found.size)) {
            alike(lunr.TokenSet.fromString(`${word}*`)).forEach(other => lookUp(other, BEGINNING, terms, found));
        }
        for (let distance = 1; !found.size && word.length > 3 && distance <= (word.length > 6 ? 2 : 1); distance++) {
            alike(lunr.TokenSet.fromFuzzyString(word, distance)).forEach(other => lookUp(other, TYPO, terms, found));
        }
        return found;
    }

    /* Returns the best entry of each section, the best section first, and the terms to highlight. */
    function find(query) {
        const all = wordsOf(query), terms = new Set();
        const meaning = all.filter(word => !isStopWord(word));
        const typed = [...new Set(meaning.length ? meaning : all)];
        const stems = typed.map(stem);
        const found = typed.map((word, at) => lookUpTyped(word, at === typed.length - 1, terms));
        const said = all.map(stem);
        for (const [phrase, meant] of synonyms) {
            if (phrase.every(word => said.includes(word))) {
                const others = meant.map(word => lookUp(word, SYNONYM / Math.sqrt(meant.length), terms));
                phrase.filter(word => stems.includes(word)).forEach(word => {
                    const one = found[stems.indexOf(word)];
                    others.forEach(other => other.forEach((score, number) =>
                        one.set(number, Math.max(one.get(number) || 0, score))));
                });
            }
        }
        const rarity = found.map(one => one.size ? Math.log(1 + entries.length / one.size) : 0);
        const whole = rarity.reduce((sum, one) => sum + one, 0);
        const scores = new Map();
        found.forEach((one, at) => one.forEach((score, number) => {
            const sum = scores.get(number) || {score: 0, covered: 0};
            scores.set(number, {score: sum.score + score, covered: sum.covered + rarity[at]});
        }));
        const phrase = inSpaces(query);
        const ranked = [...scores].map(([number, {score, covered}]) => {
            const {words, name} = entries[number];
            const exact = name === phrase ? NAME : all.length > 1 && words.includes(phrase) ? TOGETHER : 1;
            return [number, score * (covered / whole) ** 3 * exact];
        }).sort((one, other) => other[1] - one[1]);
        const sections = new Map();
        for (const [number] of ranked) {
            const entry = entries[number];
            if (!sections.has(entry.section)) {
                sections.set(entry.section, entry);
            }
        }
        return [[...sections.values()], terms];
    }

    /* ---- showing ---- */

    const element = (name, attributes = {}, ...inside) => {
        const made = document.createElement(name);
        Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
        made.append(...inside);
        return made;
    };

    /* Returns the part of a text that has most of the terms, with these marked. */
    function inContext(text, terms) {
        const pieces = [...text.matchAll(/[\p{L}\p{N}_]+/gu)].map(match =>
            ({at: match.index, end: match.index + match[0].length, term: stem(match[0].toLowerCase())}));
        const hits = pieces.filter(piece => terms.has(piece.term) || terms.has(piece.term.split("_")[0]));
        let best = 0, most = 0;
        hits.forEach((first, from) => {
            const inside = hits.slice(from).filter(hit => hit.end <= first.at + CONTEXT);
            const different = new Set(inside.map(hit => hit.term)).size;
            if (different > most) {
                [best, most] = [first.at, different];
            }
        });
        const start = best < 40 ? 0 : text.lastIndexOf(" ", best - 30) + 1;
        const end = start + CONTEXT >= text.length ? text.length : text.lastIndexOf(" ", start + CONTEXT);
        const shown = [start ? "… " : ""];
        let at = start;
        for (const hit of hits.filter(one => one.at >= start && one.end <= end)) {
            shown.push(text.slice(at, hit.at), element("mark", {}, text.slice(hit.at, hit.end)));
            at = hit.end;
        }
        return [...shown, text.slice(at, end), end < text.length ? " …" : ""];
    }

    function option(entry, number, terms) {
        const where = entry.page === entry.heading ? [] : [element("span", {class: "where"}, `${entry.page} › `)];
        return element("a", {role: "option", id: `found-${number}`, href: entry.place, tabindex: "-1", "aria-selected": "false"},
            element("span", {class: "found-title"}, ...where, entry.heading), " ",
            element("span", {class: "context"}, ...inContext(entry.text || entry.messages, terms)));
    }

    /* ---- the box ---- */

    const script = name => new Promise((resolve, reject) => {
        const made = element("script", {src: name});
        made.onload = resolve;
        made.onerror = () => reject(new Error(`${name} cannot be read`));
        document.head.append(made);
    });

    let loading;
    const load = () => loading = loading ||
        Promise.all([script("lunr.min.js"), script("search-index.js")]).then(() => open(window.searchIndex));

    function makeBox() {
        const field = element("input", {
            id: "search-field", type: "search", role: "combobox", placeholder: "Search: words, a call, an error message",
            "aria-label": "Search", "aria-expanded": "false", "aria-controls": "search-list", "aria-autocomplete": "list",
            "aria-keyshortcuts": "/", autocomplete: "off", spellcheck: "false", enterkeyhint: "search"});
        const count = element("p", {id: "search-count", role: "status"});
        const list = element("div", {id: "search-list", role: "listbox", "aria-label": "What was found"});
        const panel = element("div", {id: "search-panel", hidden: ""}, count, list);
        const box = element("div", {id: "search", role: "search"}, field, panel);
        let chosen = -1;

        function choose(number) {
            const all = list.children;
            all[chosen]?.setAttribute("aria-selected", "false");
            chosen = all.length ? (number + all.length) % all.length : -1;
            all[chosen]?.setAttribute("aria-selected", "true");
            all[chosen]?.scrollIntoView({block: "nearest"});
            field.setAttribute("aria-activedescendant", all[chosen]?.id || "");
        }

        function close() {
            panel.hidden = true;
            field.setAttribute("aria-expanded", "false");
            field.removeAttribute("aria-activedescendant");
        }

        async function search() {
            if (!field.value.trim()) {
                close();
                return;
            }
            try {
                await load();
            } catch (error) {
                count.textContent = `The search does not work: ${error.message}.`;
                panel.hidden = false;
                return;
            }
            const [found, terms] = find(field.value);
            list.replaceChildren(...found.slice(0, MOST).map((entry, number) => option(entry, number, terms)));
            count.textContent = !found.length ? "Nothing was found. Try fewer words, or only the last part of the message."
                : found.length > MOST ? `The best ${MOST} of ${found.length} sections` : `${found.length} section${found.length > 1 ? "s" : ""}`;
            panel.hidden = false;
            field.setAttribute("aria-expanded", String(found.length > 0));
            chosen = -1;
            choose(0);
        }

        field.addEventListener("focus", () => { load().catch(() => {}); });
        field.addEventListener("input", search);
        field.addEventListener("keydown", event => {
            const moves = {ArrowDown: 1, ArrowUp: -1};
            if (event.key in moves && !panel.hidden) {
                choose(chosen + moves[event.key]);
            } else if (event.key in moves) {
                search();
            } else if (event.key === "Enter") {
                search().then(() => list.children[chosen]?.click());
            } else if (event.key === "Escape") {
                field.value = panel.hidden ? "" : field.value;
                close();
            } else {
                return;
            }
            event.preventDefault();
        });
        list.addEventListener("click", close);
        box.addEventListener("focusout", event => {
            if (!box.contains(event.relatedTarget)) {
                close();
            }
        });
        panel.addEventListener("mousedown", event => { event.preventDefault(); }); /* the field keeps the focus */
        document.addEventListener("keydown", event => {
            const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) || event.target.isContentEditable;
            if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
                event.preventDefault();
                field.focus();
                field.select();
            }
        });
        document.getElementById("titlearea").append(box);
    }

    document.addEventListener("DOMContentLoaded", makeBox);
})();
