"""Compiles C programs, runs them in a box, records their calls, and reads their state from /proc.

Input: C sources and a command line. Output: how each program ended, what it printed, which calls it made and what the
kernel shows of it.
"""
