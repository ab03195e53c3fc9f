"""Builds the web site, in a student's and an instructor's edition.

Input: labs/, docs/, the checks' sentences and the known mistakes. Output: build/docs and build/docs-instructor.
"""
