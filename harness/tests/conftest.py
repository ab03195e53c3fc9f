"""Fixtures and options that several tests share."""
import os
import tempfile
from pathlib import Path

import pytest
import running

from shmlab.sandbox import tiers

TIERS = ["namespaces", "host"]


@pytest.fixture(scope="session", autouse=True)
def independent_of_the_caller():
    """The width of the user's terminal and the make that runs the tests must not change what the tests compare."""
    for name in "COLUMNS", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "V":
        os.environ.pop(name, None)


@pytest.fixture
def open_directory():
    """A directory that other users can enter. They cannot always enter tmp_path: each pytest that starts closes it to them."""
    with tempfile.TemporaryDirectory(prefix="shmlab-tests-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


@pytest.fixture(params=TIERS)
def tier(request):
    """Each tier in turn. Fails, rather than skips, if this machine refuses namespaces."""
    if request.param == "namespaces" and tiers.choose_tier("auto") != "namespaces":
        pytest.fail("this machine refuses namespaces, so the box cannot be tested")
    return request.param


def pytest_configure(config):
    config.addinivalue_line("markers", "xdist_group(name): tests that one worker of pytest-xdist must run")
    config.addinivalue_line("markers", "full: cases that test the same thing as others; run with FULL=1 or when selected by name")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Deselects tests marked "full" unless they are asked for, and assigns tests of the host tier to one worker.

    Only one harness at a time can use the machine's own IPC, so a second worker would only wait.
    """
    if not running.FULL and not config.option.keyword and not any("::" in word for word in config.args):
        left_out = [item for item in items if item.get_closest_marker("full")]
        items[:] = [item for item in items if not item.get_closest_marker("full")]
        config.hook.pytest_deselected(items=left_out)
    for item in items:
        tier = item.callspec.params.get("tier") if hasattr(item, "callspec") else None
        if tier == "host" or "without_namespaces" in item.name or "host_tier" in item.name:
            item.add_marker(pytest.mark.xdist_group("host"))
