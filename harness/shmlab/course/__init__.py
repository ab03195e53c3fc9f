"""Grades a course: collects submissions, judges them in parallel and compares failures with known mistakes.

Input: a directory of submissions, as students or a learning platform wrote it, and the course file.
Output: results.json, CSV, JUnit, Gradescope's JSON and HTML pages.
"""
