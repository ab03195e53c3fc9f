"""Submissions in, grades out: many students' work is taken in, judged in parallel, compared with known mistakes.

In: a directory as students or a platform left it, and the course file. Out: results.json, CSV, JUnit, pages.
"""
