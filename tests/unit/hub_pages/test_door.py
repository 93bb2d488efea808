import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgewise.hub.pages.door import local_path


@pytest.mark.parametrize("wanted", ["/", "/sites", "/rollouts/pets-2-k3f9?wave=1", "/sites?selector=tier%3Dedge"])
def test_one_gets_where_one_wanted_to_after_logging_in(wanted):
    assert local_path(wanted) == wanted


@pytest.mark.parametrize(
    "wanted",
    [
        "",
        "//evil.example",
        "https://evil.example/",
        "/\\evil.example",
        "\\\\evil",
        "/a\nb",
        "javascript:1",
        "/login",
        "/logout",
    ],
)
def test_one_never_gets_elsewhere(wanted):
    assert local_path(wanted) == "/"


@given(st.text())
@example("/\t/evil.example")
@example("/\\/evil.example")
def test_whatever_is_wanted_the_way_leads_to_this_hub(wanted):
    found = local_path(wanted)
    assert found.startswith("/")
    assert not found.startswith(("//", "/\\"))
    assert "\\" not in found
    assert found.isprintable()
