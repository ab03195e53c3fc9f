"""The harness of the Shared Memory Lab. Checks import what they need from here.

A reading order that follows a submission: labs, native, kernel, calls, box, build, program, plugin, feedback, results.
"""
import sys

if sys.version_info < (3, 9):  # before anything is imported that needs it
    raise SystemExit("error: Python 3.9 or later is needed; this is %d.%d, %s" % (*sys.version_info[:2], sys.executable))

__all__ = ["LabFixture", "points", "require", "require_bytes"]
_PLACES = {"LabFixture": "fixture", "points": "plugin", "require": "require", "require_bytes": "require"}


def __getattr__(name: str) -> object:
    """Imports what a check asks for. Nothing is imported before, because other commands do not need pytest, which is slow."""
    if name not in _PLACES:
        raise AttributeError(f"module 'shmlab' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f".judging.{_PLACES[name]}", __name__), name)
