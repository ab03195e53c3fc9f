"""Checks in, verdicts out: what a check works with, the pytest plugin that runs it, and what the student reads.

In: a lab's checks and a submission. Out: an outcome for each check, see shmlab/results.py.
"""
