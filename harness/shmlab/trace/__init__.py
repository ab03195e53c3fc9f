"""Draws what a run did to the memory that processes share: `make trace`.

Input: a scenario of harness/scenarios/, a check, or a schedule that a verdict printed, and a submission. Output: a picture
(SVG, in an HTML page), the same as text, or its events as JSON.
"""
