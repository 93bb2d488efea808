"""YAML to API objects."""

import pytest

from edgewise.agent.kubernetes.manifests import MAX_BYTES, parse_manifests
from edgewise.core.errors import InvalidArgumentError

GOOD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"


def test_documents_and_lists_become_objects():
    text = f"---\n{GOOD}---\n---\napiVersion: v1\nkind: List\nitems:\n- {{apiVersion: v1, kind: Secret, metadata: {{name: b}}}}\n"
    assert [(item["kind"], item["metadata"]["name"]) for item in parse_manifests(text, "x")] == [
        ("ConfigMap", "a"),
        ("Secret", "b"),
    ]


def test_json_is_taken():
    assert parse_manifests('{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}', "x")[0]["kind"] == "Pod"


def test_what_looks_like_a_date_stays_text():
    (item,) = parse_manifests(f"{GOOD}data: {{day: 2026-01-02}}\n", "x")
    assert item["data"] == {"day": "2026-01-02"}


WRONG = [
    ("a: [1", "x is not YAML: line 2, column 1"),
    ("just words", "x, document 1 is 'just words'; expected an API object"),
    ("- 1\n- 2\n", "x, document 1 is [1, 2]; expected an API object"),
    ("", "x holds no API object"),
    ("---\n---\n", "x holds no API object"),
    ("kind: Pod\nmetadata: {name: p}\n", "x, document 1 has no apiVersion"),
    ("apiVersion: v1\nmetadata: {name: p}\n", "x, document 1 has no kind"),
    ("apiVersion: v1\nkind: Pod\n", "x, document 1 (Pod) has the metadata.name None"),
    ("apiVersion: v1\nkind: Pod\nmetadata: {name: '../x'}\n", "x, document 1 (Pod) has the metadata.name '../x'"),
    ("apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: 7}\n", "has the namespace 7"),
    ("apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {a: 1}}\n", "has labels that are not all text"),
    ("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n", "is a Kustomization"),
    (f"{GOOD}---\n{GOOD}", "x holds ConfigMap a twice"),
    ("a: !!python/object/apply:os.system ['true']\n", "x is not YAML"),
    ("[" * 100_000, "x is nested more than 100 deep"),
    ("a: &a [1]\n" + "b: [" + "*a, " * 200 + "]\n", "x has more than 100 YAML aliases"),
    ("a" * (MAX_BYTES + 1), f"x holds {MAX_BYTES + 1} characters"),
]


@pytest.mark.parametrize(("text", "message"), WRONG, ids=range(len(WRONG)))
def test_what_is_no_manifest_is_refused(text, message):
    with pytest.raises(InvalidArgumentError) as error:
        parse_manifests(text, "x")
    assert message in error.value.message
    assert "\n" not in error.value.message
