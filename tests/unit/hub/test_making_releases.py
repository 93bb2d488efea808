"""Directories become releases; what no site could use, or what leads out of them, does not."""

import hashlib

import pytest

from edgewise.core.errors import EdgewiseError, FailedPreconditionError, InvalidArgumentError, NotFoundError
from edgewise.core.releases import EVERY_TIER
from edgewise.hub.releases.making import bytes_to_read, make_release
from edgewise.hub.releases.version_files import version_files
from edgewise.protocols.heldout import Example, Heldout, heldout_bytes
from edgewise.protocols.release_manifest import decode_release, encode_release

CREATED = "2026-11-23T10:00:00Z"


@pytest.fixture
def directory(tmp_path):
    version = tmp_path / "models" / "pets" / "2"
    (version / "variables").mkdir(parents=True)
    (version / "model.onnx").write_bytes(b"\x08\x07" + bytes(300_000))
    (version / "labels.txt").write_text("cat\ndog\n")
    (version / "variables" / "data").write_bytes(b"weights")
    return version


def test_held_out_examples_that_no_site_could_ask_are_no_release(directory):
    (directory / "heldout").mkdir()
    (directory / "heldout" / "a.jpg").write_bytes(b"\xff\xd8\xff")
    examples = (Example("a.jpg", "dog"), Example("b.jpg", "cat"))
    (directory / "heldout" / "heldout.json").write_bytes(heldout_bytes(Heldout(examples)))
    with pytest.raises(InvalidArgumentError, match="heldout/heldout.json names 'b.jpg', which is not in heldout/"):
        make_release("pets", 2, {EVERY_TIER: directory}, created=CREATED)
    (directory / "heldout" / "b.jpg").write_bytes(b"\xff\xd8\xff")
    files = make_release("pets", 2, {EVERY_TIER: directory}, created=CREATED).release.variant("edge").files
    assert {"heldout/a.jpg", "heldout/b.jpg", "heldout/heldout.json"} <= {file.path for file in files}


def test_a_directory_becomes_a_release(directory):
    counts = []

    made = make_release(
        "pets",
        2,
        {EVERY_TIER: directory},
        created=CREATED,
        notes="better",
        lineage={"commit": "4f9c2"},
        on_bytes=counts.append,
    )

    files = made.release.variant("edge").files
    assert [file.path for file in files] == ["labels.txt", "model.onnx", "variables/data"]
    for file in files:
        content = (directory / file.path).read_bytes()
        assert (file.size_bytes, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
        assert made.blobs[file.sha256] == directory / file.path
    assert sum(counts) == made.size_bytes == bytes_to_read([directory]) == 300_017
    assert (made.release.notes, made.release.lineage) == ("better", {"commit": "4f9c2"})
    assert decode_release(encode_release(made.release)) == made.release


def test_a_file_that_both_variants_have_is_one_blob(directory, tmp_path):
    other = tmp_path / "cloud" / "2"
    other.mkdir(parents=True)
    (other / "model.onnx").write_bytes(b"\x08\x07 cloud")
    (other / "labels.txt").write_text("cat\ndog\n")

    made = make_release("pets", 2, {"cloud": other, "edge": directory}, created=CREATED)

    assert len(made.blobs) == 4
    assert made.size_bytes == 300_017 + 8


def test_hidden_files_are_left_out(directory):
    (directory / ".DS_Store").write_bytes(b"x")
    (directory / ".git").mkdir()
    (directory / ".git" / "config").write_bytes(b"x")

    assert sorted(version_files(directory)) == ["labels.txt", "model.onnx", "variables/data"]


def test_settings_for_all_versions_go_along_where_a_version_has_none_of_its_own(directory):
    above = directory.parent / "model.toml"
    above.write_text('backend = "onnx"\n')
    assert version_files(directory)["model.toml"] == above

    own = directory / "model.toml"
    own.write_text('backend = "onnx"\n')
    assert version_files(directory)["model.toml"] == own


def test_a_link_inside_is_the_file_that_it_leads_to(directory):
    (directory / "saved.onnx").symlink_to("model.onnx")

    made = make_release("pets", 2, {EVERY_TIER: directory}, created=CREATED)

    files = {file.path: file.sha256 for file in made.release.variant("edge").files}
    assert files["saved.onnx"] == files["model.onnx"]


def test_a_model_file_may_have_the_name_that_its_settings_say(directory):
    (directory / "model.onnx").rename(directory / "net.onnx")
    with pytest.raises(
        FailedPreconditionError, match=r"holds no model: expected model.onnx or saved_model.pb in it, found labels"
    ):
        version_files(directory)

    (directory / "model.toml").write_text('file = "net.onnx"\n')
    assert "net.onnx" in version_files(directory)


def test_attack_link_out_of_a_version(directory, tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    (directory / "extra").symlink_to(tmp_path / "secret")

    with pytest.raises(FailedPreconditionError, match="extra is a link that leads out of"):
        version_files(directory)


@pytest.mark.parametrize("target", ["..", "/etc", "variables"])
def test_links_to_directories_are_refused(directory, target):
    (directory / "more").symlink_to(target)

    with pytest.raises(FailedPreconditionError, match="more is a link to a directory"):
        version_files(directory)


def test_a_link_to_nothing_is_refused(directory):
    (directory / "gone").symlink_to("nothing")

    with pytest.raises(FailedPreconditionError, match="gone is neither a file nor a directory"):
        version_files(directory)


def test_a_pipe_is_refused(directory):
    import os

    os.mkfifo(directory / "pipe")
    with pytest.raises(FailedPreconditionError, match="pipe is neither a file nor a directory"):
        version_files(directory)


def test_a_name_that_no_site_takes_is_refused(directory):
    (directory / "a\\b").write_bytes(b"x")
    with pytest.raises(FailedPreconditionError, match="holds a backslash"):
        version_files(directory)


def test_an_empty_model_is_refused(directory):
    (directory / "model.onnx").write_bytes(b"")
    with pytest.raises(FailedPreconditionError, match="model.onnx is empty"):
        version_files(directory)


def test_settings_that_are_no_toml_are_refused(directory):
    (directory / "model.toml").write_text("backend = \n")
    with pytest.raises(FailedPreconditionError, match="model.toml is not TOML"):
        version_files(directory)


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(NotFoundError, match="is no directory; expected a model version's"):
        make_release("pets", 2, {EVERY_TIER: tmp_path / "nothing"}, created=CREATED)


def test_a_variant_for_all_stands_alone(directory):
    with pytest.raises(EdgewiseError, match="a variant for every tier and others beside it"):
        make_release("pets", 2, {EVERY_TIER: directory, "edge": directory}, created=CREATED)
