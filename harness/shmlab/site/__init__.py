"""Handouts and pages in, a web site out, in a student's and an instructor's edition.

In: labs/, docs/, the checks' sentences and the known mistakes. Out: build/docs and build/docs-instructor.
"""
