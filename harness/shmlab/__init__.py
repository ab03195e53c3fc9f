"""The harness of the Shared Memory Lab. Checks import what they need from here.

A reading order that follows a submission: labs, native, kernel, calls, box, build, program, plugin, feedback, results.
"""
import sys

if sys.version_info < (3, 9):  # before anything is imported that needs it
    raise SystemExit("error: Python 3.9 or later is needed; this is %d.%d, %s" % (*sys.version_info[:2], sys.executable))

from .judging.plugin import points  # noqa: E402
from .judging.fixture import LabFixture  # noqa: E402
from .judging.require import require, require_bytes  # noqa: E402

__all__ = ["LabFixture", "points", "require", "require_bytes"]
