"""What `edgewise data export --format folder` writes is what `edgewise data build` reads."""

import hashlib

from edgewise.dataset.building import build
from edgewise.dataset.checking import check
from edgewise.dataset.settings import BuildSettings
from edgewise.hub.labelling.exporting import export
from edgewise.hub.labelling.formats import FORMATS
from edgewise.hub.labelling.shown import Shown
from support.pictures import content, picture


def quiet(step, done, total):
    pass


def test_samples_become_a_dataset_and_the_cameras_days_stay_together(tmp_path):
    samples, pictures = [], {}
    for number in range(48):
        data = content(picture(number), "JPEG")
        sample_id = f"{number:032x}"
        pictures[sample_id] = data
        samples.append(
            Shown(
                sample_id,
                site="north",
                source=f"door-{number % 2}",
                captured=f"2026-11-{1 + number // 6:02d}T10:00:00Z",
                label=("cat", "dog")[number % 2],
                content_type="image/jpeg",
                sha256=hashlib.sha256(data).hexdigest(),
                bytes=len(data),
                synthetic=number == 0,
            )
        )
    export(samples, pictures.__getitem__, FORMATS["folder"], tmp_path / "export")
    built = build([tmp_path / "export"], tmp_path / "out", BuildSettings("pets"), tell=quiet, created_s=0.0)
    images = built.dataset.images
    assert {image.origin for image in images} == {f"sample:{sample.id}" for sample in samples}
    assert sorted({image.source for image in images})[:2] == ["north/door-0 2026-11-01", "north/door-0 2026-11-02"]
    assert built.groups == 16
    assert [image.origin for image in images if image.synthetic] == [f"sample:{0:032x}"]
    assert not check(tmp_path / "out", tell=quiet).leaks
