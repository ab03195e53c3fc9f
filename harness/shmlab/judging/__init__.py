"""Runs a lab's checks on a submission: the fixture that checks use, the pytest plugin, and the student's feedback.

Input: a lab's checks and a submission. Output: an outcome for each check, see shmlab/results.py.
"""
