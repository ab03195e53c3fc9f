"""Programs in, reports out: C sources are compiled, started in a box, recorded, and looked at through /proc.

In: sources, and what to run. Out: how each program ended, what it printed, the calls it made, what the kernel shows.
"""
