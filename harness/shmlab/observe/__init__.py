"""Lists all shared memory of a machine and the processes that have it: `make shmls`, `python3 -m shmlab ls`, `build/shmls`.

Nothing here imports from the rest of the project or from outside of Python's standard library, so that `build/shmls`, these
modules in one file, works on any machine. Modules that take long to import are imported where they are needed.
"""
