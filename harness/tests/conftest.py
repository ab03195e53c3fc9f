"""What several tests need."""
import running
import pytest

from shmlab.sandbox import tiers

TIERS = ["namespaces", "host"]


@pytest.fixture(params=TIERS)
def tier(request):
    """Each tier in turn; the better one may be refused here, which the tests then say."""
    if request.param == "namespaces" and tiers.choose_tier("auto") != "namespaces":
        pytest.fail("this machine refuses namespaces, so the box cannot be tested")
    return request.param


def pytest_configure(config):
    config.addinivalue_line("markers", "xdist_group(name): tests that one worker of pytest-xdist shall run")
    config.addinivalue_line("markers", "full: tests like many others, run with FULL=1 or when asked for by name")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Leaves out what nobody has asked for; and one worker runs what runs on the machine's own IPC, one after the other.

    Only one harness at a time may do that, and two would wait in turn.
    """
    if not running.FULL and not config.option.keyword and not any("::" in word for word in config.args):
        left_out = [item for item in items if item.get_closest_marker("full")]
        items[:] = [item for item in items if not item.get_closest_marker("full")]
        config.hook.pytest_deselected(items=left_out)
    for item in items:
        tier = item.callspec.params.get("tier") if hasattr(item, "callspec") else None
        if tier == "host" or "without_namespaces" in item.name or "host_tier" in item.name:
            item.add_marker(pytest.mark.xdist_group("host"))
