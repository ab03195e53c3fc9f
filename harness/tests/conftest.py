"""What several tests need."""
import pytest

from shmlab import box

TIERS = ["namespaces", "host"]


@pytest.fixture(params=TIERS)
def tier(request):
    """Each tier in turn; the better one may be refused here, which the tests then say."""
    if request.param == "namespaces" and box.choose_tier("auto") != "namespaces":
        pytest.fail("this machine refuses namespaces, so the box cannot be tested")
    return request.param


def pytest_configure(config):
    config.addinivalue_line("markers", "xdist_group(name): tests that one worker of pytest-xdist shall run")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """One worker runs what runs on the machine's own IPC: only one harness at a time may, and two would wait in turn."""
    for item in items:
        tier = item.callspec.params.get("tier") if hasattr(item, "callspec") else None
        if tier == "host" or "without_namespaces" in item.name or "host_tier" in item.name:
            item.add_marker(pytest.mark.xdist_group("host"))
