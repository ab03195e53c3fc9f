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
