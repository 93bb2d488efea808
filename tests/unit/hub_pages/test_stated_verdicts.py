import pytest

from edgewise.hub.pages.stated_verdicts import verdicts_in

GROUPS = """
[signatures.image.postprocess]
[[signatures.image.postprocess.groups]]
name = "dog"
[[signatures.image.postprocess.groups]]
name = "cat"
"""


@pytest.mark.parametrize(
    ("text", "verdicts"),
    [
        (GROUPS, {"cat", "dog", "other"}),
        (GROUPS.replace("postprocess]\n", 'postprocess]\notherwise = "neither"\n', 1), {"cat", "dog", "neither"}),
        ("[signatures.image.postprocess]\ntop_k = 5", set()),
        (GROUPS.replace('"dog"', "3").replace('"cat"', '"a/b"'), {"other"}),
        ("signatures = 3", set()),
        ("[signatures]\nimage = 1", set()),
        ("no toml", set()),
        ("a = " + "[" * 100_000, set()),
    ],
)
def test_the_verdicts_of_a_model_are_read_of_its_settings(text, verdicts):
    assert verdicts_in(text) == verdicts
