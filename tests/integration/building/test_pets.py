"""`pets` as people build it: the published weights know what is on real photographs, in float32 and in int8."""

from pathlib import Path

import numpy as np
import pytest

from edgewise.core.errors import AlreadyExistsError, FailedPreconditionError, InvalidArgumentError
from edgewise.model_server.building import pets, photographs, torch_weights
from edgewise.model_server.building.quantization import quantize, run_network
from edgewise.model_server.config.model_config_file import load_model_config
from edgewise.model_server.images.transforms import LABELS, PROBABILITIES, VERDICT, decode_image, label

EXAMPLES = Path(__file__).parents[3] / "examples" / "images"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Each variant, built once: its report and the lines it printed."""
    made = {}

    def build(variant):
        if variant not in made:
            lines = []
            directory = tmp_path_factory.mktemp(variant)
            made[variant] = pets.build(directory, variant=variant, report=lines.append), lines
        return made[variant]

    return build


def answers(directory, name):
    """What the model in `directory` says to an example image, by way of its own configuration."""
    config = load_model_config(directory)
    (pipeline,) = config.pipelines
    pixels = decode_image((EXAMPLES / name).read_bytes(), pipeline.image)[None]
    probabilities = run_network(directory / config.file, pixels)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-4)
    return label(probabilities, pipeline.output)


KNOWN = [
    ("cat.jpg", "cat", {"Egyptian cat", "tiger cat", "tabby"}, 0.3),
    ("dog.jpg", "dog", {"German shepherd"}, 0.6),
    ("espresso.jpg", "other", {"espresso"}, 0.7),
    ("panda.jpg", "other", {"giant panda"}, 0.6),
    ("hen.jpg", "other", {"hen"}, 0.6),
]


@pytest.mark.parametrize("variant", ["cloud", "edge", "edge-lite2", "edge-float32"])
@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known[0])
def test_photographs_are_recognised(built, variant, known):
    image, verdict, labels, least = known
    found = answers(built(variant)[0].directory, image)
    assert found[VERDICT][0].decode() == verdict
    assert found[LABELS][0, 0].decode() in labels
    assert found[PROBABILITIES][0, 0] >= least


PETS = {"cat.jpg": "cat", "kitten.jpg": "cat", "dog.jpg": "dog"}


@pytest.mark.parametrize("variant", ["cloud", "edge", "edge-lite2", "edge-float32"])
def test_only_pets_are_called_pets_from_either_side(built, variant):
    config = load_model_config(built(variant)[0].directory)
    (pipeline,) = config.pipelines
    paths = sorted(EXAMPLES.glob("*.jpg"))
    seen = np.stack([decode_image(path.read_bytes(), pipeline.image) for path in paths])
    for pixels in (seen, np.ascontiguousarray(seen[..., ::-1])):
        rows = [
            run_network(built(variant)[0].directory / config.file, pixels[i : i + 4]) for i in range(0, len(pixels), 4)
        ]
        verdicts = label(np.concatenate(rows), pipeline.output)[VERDICT]
        found = {path.name: verdict.decode() for path, verdict in zip(paths, verdicts, strict=True)}
        assert found == {path.name: PETS.get(path.name, "other") for path in paths}


def test_lite0_is_as_sure_as_published(built):
    directory = built("edge-float32")[0].directory
    cat = answers(directory, "cat.jpg")
    cats = {"Egyptian cat", "tiger cat", "tabby", "Persian cat", "Siamese cat"}
    names = [name.decode() for name in cat[LABELS][0]]
    assert sum(p for name, p in zip(names, cat[PROBABILITIES][0], strict=True) if name in cats) > 0.9
    assert answers(directory, "espresso.jpg")[PROBABILITIES][0, 0] > 0.9


@pytest.mark.parametrize("variant", ["edge", "edge-lite2"])
def test_int8_agrees_with_float32(built, variant):
    report, lines = built(variant)
    agreement = report.agreement
    assert agreement.images >= 100
    assert agreement.top1_ratio > 0.9
    assert agreement.confident_top1_ratio > 0.97
    assert agreement.top5_overlap_ratio > 0.9
    assert agreement.verdict_ratio > 0.97
    assert agreement.probability_difference < 0.05
    assert any("int8 against float32" in line and "verdict" in line for line in lines)


def test_int8_is_a_quarter_of_float32(built):
    assert built("edge")[0].model_bytes < 0.3 * built("edge-float32")[0].model_bytes


def test_the_batch_dimension_is_free(built):
    directory = built("edge")[0].directory
    pixels = np.stack([decode_image((EXAMPLES / n).read_bytes(), load_model_config(directory).pipelines[0].image)
                       for n in ("cat.jpg", "dog.jpg", "hen.jpg")])  # fmt: skip
    together = run_network(directory / "model.onnx", pixels)
    alone = np.concatenate([run_network(directory / "model.onnx", pixels[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_a_repeated_build_writes_nothing(built):
    report, _ = built("edge-float32")
    before = (report.directory / "model.onnx").stat().st_mtime_ns
    again = pets.build(report.directory.parents[1], variant="edge-float32", report=lambda _: None)
    assert not again.written
    assert (report.directory / "model.onnx").stat().st_mtime_ns == before


def test_another_variant_does_not_overwrite(built):
    with pytest.raises(AlreadyExistsError, match="holds something else"):
        pets.build(built("edge-float32")[0].directory.parents[1], variant="cloud", report=lambda _: None)


def test_quantizing_is_the_same_every_time(built):
    pipeline = load_model_config(built("edge")[0].directory).pipelines[0]
    network = pets.load_network(pets.VARIANTS["edge"])
    views = photographs.views([EXAMPLES / "cat.jpg"], pipeline.image, per_photograph=8, seed=1)
    first, second = (quantize(network, views, keep_float=[pets.OUTPUT_NAME]) for _ in range(2))
    assert first == second


def test_unknown_variant(tmp_path):
    with pytest.raises(InvalidArgumentError, match="choose one of cloud, edge, edge-lite2, edge-float32"):
        pets.build(tmp_path, variant="mobile", report=lambda _: None)


def test_too_few_calibration_images(tmp_path):
    with pytest.raises(FailedPreconditionError, match="calibration needs at least 8"):
        pets.build(tmp_path / "out", variant="edge", calibration_images=tmp_path, report=lambda _: None)
    with pytest.raises(FailedPreconditionError, match="cannot be read"):
        pets.build(tmp_path / "out", variant="edge", calibration_images=tmp_path / "absent", report=lambda _: None)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_a_broken_calibration_image_is_named(tmp_path):
    for index in range(8):
        (tmp_path / f"{index}.jpg").write_bytes((EXAMPLES / "cat.jpg").read_bytes())
    (tmp_path / "2.jpg").write_bytes((EXAMPLES / "cat.jpg").read_bytes()[:500])
    spec = load_spec()
    with pytest.raises(FailedPreconditionError, match=r"2\.jpg"):
        photographs.views(photographs.split(tmp_path).calibration, spec, per_photograph=2, seed=0)


def load_spec():
    from edgewise.model_server.config.model_config import ImageInput

    return ImageInput(tensor="input", resize_px=64, height_px=48, width_px=48, mean=(127,) * 3, scale=(128,) * 3)


def test_views_are_seeded_and_differ():
    paths = sorted(EXAMPLES.glob("*.jpg"))[:3]
    first = photographs.views(paths, load_spec(), per_photograph=4, seed=1)
    assert first.shape == (12, 3, 48, 48)
    assert -1 <= first.min() < first.max() <= 1
    np.testing.assert_array_equal(first, photographs.views(paths, load_spec(), per_photograph=4, seed=1))
    assert len({view.tobytes() for view in first}) == 12
    assert not np.array_equal(first, photographs.views(paths, load_spec(), per_photograph=4, seed=2))


def test_every_example_image_is_listed_with_its_licence():
    listed = (EXAMPLES / "LICENSES.md").read_text()
    for path in EXAMPLES.glob("*.jpg"):
        assert f"| {path.name} |" in listed
        assert path.stat().st_size <= 150_000


def test_changed_weights_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(torch_weights, "parse", lambda _: pytest.fail("read before the digest was checked"))
    variant = pets.VARIANTS["edge-float32"]
    package = pytest.importorskip(variant.package)
    changed = tmp_path / "weights.pth"
    changed.write_bytes(Path(getattr(package, variant.weights_class).get_model_file_path()).read_bytes()[:-1] + b"!")
    monkeypatch.setattr(getattr(package, variant.weights_class), "get_model_file_path", lambda: str(changed))
    with pytest.raises(FailedPreconditionError, match="not the published one"):
        pets.build(tmp_path / "out", variant="edge-float32", report=lambda _: None)
