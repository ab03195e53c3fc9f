"""The page of common mistakes: every known mistake by lab and symptom, and what most mistakes of each lab break.

The mistakes come from the head lines of `harness/mistakes/`. Their patches are left out, because they contain lines of
the solutions. lab.js makes the boxes that choose a lab and a symptom.
"""
from __future__ import annotations

import html
import re
from collections import Counter
from typing import List, Tuple

from .. import gallery
from ..labs import Lab, all_labs

MOST = 5  # requirements that a lab's list begins with

# What one sees, and its pattern. A mistake is listed under the first whose pattern matches its "Seen as"; the last
# matches everything.
SYMPTOMS = (
    ("I get SIGBUS", r"SIGBUS"),
    ("I get SIGSEGV, or another signal kills the program", r"SIGSEGV|SIGFPE|SIGXFSZ|killed without a word|and die,"),
    ("It hangs",
     r"for ever|never (ends|comes back|woken)|waits? (for|beside)|sleeps on|stand still|not woken"
     r"|does not end|Hangs|keeps everybody|No sleeper|not recoverable|Owner died|can (ever )?lock|nothing at all|nobody posts"
     r"|waits at|gets in|never opens|dead owner"),
    ("It is slow, or uses a whole processor",
     r"processor|takes up to a second|again and again|tenth of a second|(hundred|thousand|ten) times|millisecond|waits 100 ms"),
    ("The name or the key is taken",
     r"File exists|taken:|(name|key) (stays )?taken|in use|already is a|stumbles|name taken|another name|has another"),
    ("Something is left behind",
     r"\bleft\b|\bstays?\b|still (listed|in maps|among|there|in use)|defunct|one more|at its end"
     r"|given back|still be there|grows by|an? new file|attached|descriptors\.|One more|the memory open|other children"),
    ("It is gone, or nobody finds it",
     r"shows nothing after|finds? (no segment|nothing)|(is|long) gone|alone with|key 0x0"
     r"|hand(ed|s) over|get together"),
    ("Permission denied, or too much permission",
     r"[Pp]ermission|perms|umask|mode|any user|may only be read|cannot be (opened|removed)|rw-s"),
    ("The other process does not see it",
     r"r--p|rw-p|private|shared word|never (shar|sees|has TEXT)|would ever share|total is 0"
     r"|zero bytes?\.$|holds OLD|does not appear|has changed the heap"),
    ("Something of somebody else's is overwritten",
     r"overwrit|takes the (first one's )?place|another office|once more while|would change"
     r"|changes the file"),
    ("It fails, and says that all went well",
     r"exit status|unnoticed|not noticed|all went well|without a word|passes for|counts as"
     r"|as if all|that all|never hears|not told|died of|whatever|seems to be|succeeds?\b"
     r"|although a child|after the child"),
    ("It takes what it should refuse",
     r"is taken|are taken|\b3x\b|says nothing about|believe|is printed\.|far outside"),
    ("It refuses what it should take",
     r"refused|Invalid argument|EINVAL|is (an error|a failure)|complains|Interrupted|gives? up|given up|not as cat"
     r"|works in one order|status 2"),
    ("Numbers do not add up",
     r"total|lose|\blost\b|number|money|said to|every answer|ticket|paid|takes back|swapped|count"
     r"|wrong balance"),
    ("The size is wrong",
     r"\bsize|4096|longer than|shorter than|too small|100 bytes|cost 60|maps 60|page too|[Gg]iB|whole page"),
    ("Bytes are missing, wrong or in the wrong order",
     r"bytes?\b|letter|cut|missing|arrives|torn|order|halves?|hello|nonsense|first word|twice"
     r"|od -c|printed|reading without|disk"),
    ("It goes wrong now and then, or on another machine",
     r"now and then|this very moment|just there|at work|faster|meanwhile|more than|on Linux|GNU C library|may not open"),
    ("The message is no help, or not true", r"[Mm]essage|: Success|\bsays?\b"),
    ("It looks right, and is not", r""),
)


def symptom_of(mistake: gallery.Patch) -> str:
    """Returns the symptom under which a mistake is listed."""
    return next(title for title, pattern in SYMPTOMS if re.search(pattern, mistake.seen_as))


def most_broken(lab: Lab) -> List[Tuple[str, int]]:
    """Returns the sentences of the checks that catch the most known mistakes of a lab, and how many each catches."""
    caught = Counter(check for mistake in gallery.mistakes() if mistake.lab == lab for check in mistake.caught_by)
    sentences = {check.name: check.sentence for check in lab.checks()}
    return [(sentences[name], number) for name, number in caught.most_common() if name in sentences][:MOST]


def text() -> str:
    """Returns the page below its title, as Markdown with links relative to docs/."""
    known = gallery.mistakes()
    parts = [f"These {len(known)} wrong programs test the checks. Choose your lab and what you see; the line in italics is the "
             f"cause.\n\nEach lab begins with the {MOST} requirements that most of its wrong programs break. The number in "
             "parentheses counts the programs on this page. They were collected while the labs were made, so it does not say how "
             'often students make a mistake.\n\n<div class="choose"></div>\n\n']
    for lab in all_labs():
        ours = [mistake for mistake in known if mistake.lab == lab]
        if not ours:
            continue
        parts += [f'<div class="known" data-lab="{lab.number} {html.escape(lab.title)}">\n\n', f"## Lab {lab.number}: {lab.title}\n\n",
                  f"The handout: [lab {lab.number}](../labs/{lab.name}/README.md). Most often broken, by {len(ours)} wrong programs:\n\n"]
        parts += [f"{place}. {sentence} ({number})\n" for place, (sentence, number) in enumerate(most_broken(lab), 1)]
        for symptom, _ in SYMPTOMS:
            shown = [mistake for mistake in ours if symptom_of(mistake) == symptom]
            if shown:
                parts += [f'\n<div class="symptom" data-symptom="{html.escape(symptom)}">\n\n', f"**{symptom}**\n\n"]
                parts += [f"- {mistake.seen_as}<br><em>{mistake.title}</em>\n" for mistake in shown]
                parts.append("\n</div>\n")
        parts.append("\n</div>\n\n")
    return "".join(parts)
