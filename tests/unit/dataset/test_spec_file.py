import pytest

from edgewise.core.errors import InvalidArgumentError
from edgewise.dataset import spec_file
from edgewise.dataset.settings import Augmentation, BuildSettings, Change, Fit, Strengths, parse_shares, parse_size


def load(directory, text):
    path = directory / "pets.toml"
    path.write_text(text)
    return spec_file.load(path)


def refusal(directory, text):
    with pytest.raises(InvalidArgumentError) as caught:
        load(directory, text)
    return caught.value.message.removeprefix(f"{directory}/pets.toml: ")


def test_an_empty_file_is_the_defaults(tmp_path):
    assert load(tmp_path, "") == spec_file.Spec((), BuildSettings("pets"))


def test_everything_that_can_be_said(tmp_path):
    spec = load(
        tmp_path,
        """
        name = "door"
        paths = ["field", "../shelter"]
        split = [80, 0, 20]
        seed = 7
        size = "320x256"
        fit = "pad"
        augment = ["flip", "rotate"]
        copies = 3
        classes = ["dog", "cat"]
        source_pattern = "(door[0-9]+)"
        keep = "earlier"
        near = 4
        max_pixels = 1000
        skip_bad = true
        allow_missing = true
        [augmentation]
        rotate_degrees = 5
        [labels]
        tabby = "cat"
        junk = ""
        """,
    )
    assert spec.paths == (tmp_path / "field", tmp_path / "../shelter")
    settings = spec.settings
    assert (settings.name, settings.shares, settings.seed, settings.size) == ("door", (80, 0, 20), 7, (256, 320))
    assert (settings.fit, settings.keep) == (Fit.PAD, tmp_path / "earlier")
    assert settings.augmentation == Augmentation((Change.ROTATE, Change.FLIP), 3, Strengths(rotate_degrees=5))
    assert (settings.classes, settings.labels) == (("dog", "cat"), {"tabby": "cat", "junk": ""})
    assert settings.source_pattern.search("x_door12_a").group(1) == "door12"
    assert (settings.near_bits, settings.max_pixels, settings.skip_bad, settings.allow_missing) == (4, 1000, True, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("copys = 2", "copys: unknown key (did you mean 'copies'?); allowed: name, paths, "),
        (
            "split = [70, 20]",
            "split: found '70,20', expected the percentages of train, validation and test, which make 100",
        ),
        ("split = [0, 50, 50]", "split: found '0,50,50', expected the percentages"),
        ("split = 70", "split: found 70, expected three percentages"),
        ('size = "256"', "size: found '256', expected WIDTHxHEIGHT of 1 to 8192 pixels, such as 256x256"),
        ("size = 256", "size: found 256, expected a string"),
        ('fit = "squeeze"', "fit: found 'squeeze', expected one of crop, pad, stretch"),
        ('augment = ["rotat"]', "augment: there is no augmentation 'rotat' (did you mean 'rotate'?)"),
        ('augment = ["flip", "flip"]', "augment: found the augmentation 'flip' a second time"),
        ('augment = ["flip"]\ncopies = 2', "copies: 2 copies of each picture were asked for, and flip alone makes one"),
        ("copies = 0", "copies: found 0, expected a whole number in 1..50"),
        ("[augmentation]\nrotate = 5", "augmentation.rotate: unknown key (did you mean 'rotate_degrees'?)"),
        ("[augmentation]\ndarken_ratio = 1", "augmentation.darken_ratio: found 1, expected a number in 0.01..0.99"),
        ('classes = ["cat", "cat"]', "classes[1]: found 'cat' a second time, expected each once"),
        ('classes = ["../x"]', "classes[0]: found '../x', expected 1 to 64 letters"),
        ('[labels]\ntabby = "a/b"', "labels.tabby: found 'a/b', expected 1 to 64 letters"),
        ('source_pattern = "("', "source_pattern: found '(', expected a regular expression: missing )"),
        ("near = 64", "near: found 64, expected a whole number in 0..32"),
        ("skip_bad = 1", "skip_bad: found 1, expected true or false"),
        ("a = ", "not TOML: "),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, message):
    assert message in refusal(tmp_path, text)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(InvalidArgumentError, match="none.toml cannot be read: No such file"):
        spec_file.load(tmp_path / "none.toml")
    with pytest.raises(InvalidArgumentError, match="not a regular file"):
        spec_file.load(tmp_path)


def test_words_of_the_command_line():
    assert parse_shares("80, 10,10") == (80, 10, 10)
    assert parse_size("320x256") == (256, 320)
    for text in ("70,15", "a,b,c", "70,15,16", "100,-5,5", "0,50,50", "\uff170,15,15"):
        with pytest.raises(InvalidArgumentError, match="expected the percentages of train, validation and test"):
            parse_shares(text)
    for text in ("0x5", "9000x1", "5", "axb", "-1x4"):
        with pytest.raises(InvalidArgumentError, match="expected WIDTHxHEIGHT"):
            parse_size(text)
