"""Whatever somebody hands in: it is read or refused with a reason, and nothing outside of its directory is named."""

import contextlib
import json
import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgewise.core.errors import InvalidArgumentError
from edgewise.hub.labelling.entries import Found
from edgewise.hub.labelling.formats import FORMATS

ID = "a" * 32
NAMES = st.sampled_from(
    [
        "one.jpg",
        "images/one.jpg",
        "../secret.jpg",
        "/etc/passwd",
        "images/../../secret.jpg",
        "link.jpg",
        "",
        "\x00",
        "https://a/b.jpg",
    ]
    + [f"/data/local-files/?d=in/../../secret.jpg{end}" for end in ("", "&d=x")]
)
KEYS = st.sampled_from(
    [
        "images",
        "annotations",
        "categories",
        "id",
        "image_id",
        "category_id",
        "file_name",
        "name",
        "edgewise",
        "data",
        "result",
        "type",
        "value",
        "choices",
        "image",
        "label",
        "edgewise_id",
    ]
)
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 3), st.just(ID), st.just("choices"), NAMES, st.text(max_size=8)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=24,
)
COCO = st.fixed_dictionaries(
    {
        "images": st.lists(st.fixed_dictionaries({"id": st.integers(0, 3), "file_name": NAMES}) | VALUES, max_size=4),
        "annotations": st.lists(
            st.fixed_dictionaries({"image_id": st.integers(0, 3), "category_id": st.integers(0, 2)}) | VALUES,
            max_size=4,
        ),
        "categories": st.lists(
            st.fixed_dictionaries({"id": st.integers(0, 2), "name": st.text(max_size=5)}), max_size=3
        ),
    }
)


def read(form, name, content):
    """Read what lies in a directory beside which there is a secret."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory, "in")
        (root / "images").mkdir(parents=True)
        Path(directory, "secret.jpg").write_bytes(b"secret")
        (root / "images" / "one.jpg").write_bytes(b"one")
        (root / "link.jpg").symlink_to(Path(directory, "secret.jpg"))
        (root / name).write_bytes(content)
        found = Found()
        with contextlib.suppress(InvalidArgumentError):
            found = FORMATS[form].read(root / name)
        for entry in found.entries:
            assert entry.sample_id or entry.picture
            assert entry.picture is None or entry.picture.read_bytes() == b"one"
        for refusal in found.refused:
            assert refusal.where.startswith(str(root / name))
            assert refusal.why


@settings(deadline=None, max_examples=60)
@given(VALUES | st.lists(VALUES, max_size=4))
@example([{"image": "link.jpg", "label": "dog"}])
def test_tasks_of_label_studio(value):
    read("label-studio", "tasks.json", json.dumps(value).encode())


@settings(deadline=None, max_examples=60)
@given(COCO | VALUES)
@example({"images": [{"id": 1, "file_name": "link.jpg"}], "annotations": [], "categories": []})
def test_annotations_of_coco(value):
    read("coco", "annotations.json", json.dumps(value).encode())


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from([ID, "", "x"]), NAMES, st.text(max_size=6)), max_size=4), st.sampled_from(",;\t")
)
def test_lines_of_a_table(rows, between):
    lines = [("id", "file", "label"), *rows]
    read("csv", "labels.csv", "\n".join(between.join(row) for row in lines).encode(errors="replace"))


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(sorted(set(FORMATS) - {"folder"})), st.binary(max_size=60))
def test_bytes(form, content):
    read(form, "some.file", content)
