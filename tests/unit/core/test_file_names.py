import pytest

from edgewise.core.errors import FailedPreconditionError
from edgewise.core.file_names import MAX_DEPTH, checked_name


@pytest.mark.parametrize(
    ("name", "checked"),
    [("model.onnx", "model.onnx"), ("./a//b/", "a/b"), ("..data/x", "..data/x"), ("", ""), ("./", ""), ("ü/ñ", "ü/ñ")],
)
def test_names_that_stay(name, checked):
    assert checked_name(name, what="x.tar") == checked


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("/etc/passwd", "is absolute"),
        ("../x", "leads out"),
        ("a/../../x", "leads out"),
        ("a\\b", "backslash"),
        ("a\nb", "control character"),
        ("a\0b", "control character"),
        ("\udcff", "not UTF-8"),
        ("a" * 256, "too long"),
        ("ab/" * 500, "too long"),
        ("a/" * (MAX_DEPTH + 1), "directories deep"),
    ],
)
def test_names_that_do_not(name, fault):
    with pytest.raises(FailedPreconditionError) as caught:
        checked_name(name, what="x.tar")
    assert "x.tar holds the name" in caught.value.message
    assert fault in caught.value.message
    assert caught.value.message.isprintable()
