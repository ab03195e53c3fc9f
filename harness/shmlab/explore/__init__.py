"""Runs a lab's programs under every order of their steps, up to a bound.

Input: a submission, the programs to run and their arguments, the objects that are there at first. Output: each different
end, with the schedule that leads to it and the lines to print of it.
"""
