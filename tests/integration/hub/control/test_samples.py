"""Samples and their labels, in each database."""

import contextlib
from dataclasses import replace

import pytest
from sqlalchemy import event

from edgewise.core.errors import NotFoundError, UnavailableError
from edgewise.hub.store.samples import PICTURE, KeptSample, SampleFilter, SegmentDone, count_labels
from support.control_world import OPERATOR, manifest_sha256, release

DAY_S = 86400.0


def kept(number, **other):
    values = {
        "id": f"{number:032x}",
        "site": "alpha",
        "source": "porch",
        "captured_s": 1_790_000_000.25 + number // 2,
        "received_s": 1_800_000_000.0,
        "model": "pets",
        "version": 1,
        "kind": PICTURE,
        "content_type": "image/png",
        "blob_sha256": f"{number:064x}",
        "size_bytes": 10,
        "reasons": ("sampled", "low-confidence"),
        "confidence": 0.5,
        "prediction": "dog",
        "scores": (("beagle", 0.7), ("tabby \x00 cat", 0.1)),
        "width": 8,
        "height": 6,
        "details": {"form": "rest-image"},
    }
    return KeptSample(**{**values, **other})


def segment(name="1-0-w0.5f3a9c01-0000000001", **other):
    values = {"site": "alpha", "name": name, "sha256": "0" * 64, "samples": 0, "doubled": 0, "refused": 2}
    return SegmentDone(**{**values, "done_s": 1_800_000_000.0, **other})


@contextlib.contextmanager
def asked(world):
    """Every statement, and its parameters, that the database is asked meanwhile."""
    engine, statements = world.plane._books._store.engine, []

    def note(_connection, _cursor, statement, parameters, *_):
        statements.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", note)


def plan(world, ask, *words, **named):
    """How the database looks for the samples that a call asks for."""
    with asked(world) as statements:
        ask(*words, **named)
    engine = world.plane._books._store.engine
    is_sqlite = engine.dialect.name == "sqlite"
    lines = []
    with engine.begin() as connection:
        if not is_sqlite:
            # Of a table as small as this one it would read all.
            for way in ("seqscan", "bitmapscan", "sort"):
                connection.exec_driver_sql(f"SET LOCAL enable_{way} = off")
        for statement, parameters in statements:
            if "FROM samples" in statement:
                explain = f"EXPLAIN {'QUERY PLAN ' if is_sqlite else ''}{statement}"
                lines += [str(row[-1]) for row in connection.exec_driver_sql(explain, parameters)]
    return " ".join(lines)


def test_a_segment_is_taken_once_and_lasts(world):
    world.release(1)
    books = world.plane.samples
    done = books.take([kept(number) for number in range(5)], segment())
    assert (done.samples, done.doubled, done.refused) == (5, 0, 2)
    world.restart()
    books = world.plane.samples
    assert books.segment("alpha", done.name) == books.segment("alpha", done.name, "0" * 64) == done
    assert books.segment("alpha", done.name, "1" * 64) is None
    assert books.take([kept(9)], segment()) == done
    again = books.take([kept(3), kept(4), kept(5)], segment("1-0-w0.5f3a9c01-0000000002"))
    assert (again.samples, again.doubled) == (1, 2)
    found, _ = books.list(SampleFilter())
    assert [one.id for one in found] == [kept(number).id for number in (5, 4, 3, 2, 1, 0)]
    digest = manifest_sha256(release(1))
    assert found[-1] == replace(kept(0), model_digest=digest, scores=(("beagle", 0.7), ("tabby \ufffd cat", 0.1)))


def test_what_fails_to_commit_is_as_if_it_had_not_come(world, failing):
    with failing(world, after=False), pytest.raises(UnavailableError):
        world.plane.samples.take([kept(1)], segment())
    assert world.plane.samples.segment("alpha", segment().name) is None
    assert world.plane.samples.list(SampleFilter()) == ([], "")
    assert world.plane.samples.take([kept(1)], segment()).samples == 1


def test_pages_cut_between_samples_of_the_same_moment(world):
    books = world.plane.samples
    books.take([kept(number) for number in range(9)], segment())
    seen, after = [], ""
    while True:
        found, after = books.list(SampleFilter(), after=after, limit=2)
        seen += [one.id for one in found]
        if not after:
            break
    assert seen == [kept(number).id for number in reversed(range(9))]


def test_filters_mean_what_they_say(world):
    books = world.plane.samples
    books.take([kept(1), kept(2, version=2, source="door", reasons=("all",)), kept(3, model="tiny")], segment())
    books.label({kept(1).id: "dog"}, OPERATOR)

    def names(**asked):
        return [int(one.id, 16) for one in books.list(SampleFilter(**asked))[0]]

    assert names(version=2) == names(source="door") == names(reason="all") == [2]
    assert names(reason="sampled") == [3, 1]
    assert names(reason="%") == names(reason="sample_") == []
    assert names(model="tiny") == [3]
    assert names(label="dog") == names(is_labelled=True) == [1]
    assert names(is_labelled=False) == [3, 2]
    assert names(since_s=kept(2).captured_s) == [3, 2]
    assert names(until_s=kept(2).captured_s) == [1]
    assert names(site="beta") == []


def test_labels_are_counted_and_remembered_and_go_with_their_sample(world):
    books = world.plane.samples
    books.take([kept(number) for number in range(4)], segment())
    assert books.label({kept(0).id: "dog", kept(1).id: "dog", kept(2).id: "cat"}, OPERATOR) == 3
    assert books.label({kept(0).id: "dog", kept(1).id: ""}, OPERATOR) == 1
    counts = books.counts()
    assert (counts.labels, counts.unlabelled) == ({"cat": 1, "dog": 1}, 2)
    assert [(one.before, one.after) for one in books.history(kept(1).id)] == [("", "dog"), ("dog", "")]
    with pytest.raises(NotFoundError, match="there is no sample"):
        books.label({kept(0).id: "cat", "f" * 32: "cat"}, OPERATOR)
    assert books.one(kept(0).id).label == "dog"
    books.delete(kept(1).id, OPERATOR)
    assert books.history(kept(1).id) == []
    actions = [entry.action for entry in world.plane.audit()]
    assert actions[:3] == ["sample.delete", "sample.label", "sample.label"]


def test_time_ends_samples_and_their_blobs_wait_to_be_looked_at(world):
    books = world.plane.samples
    shared = kept(3, blob_sha256=kept(2).blob_sha256)
    books.take([kept(1), kept(2), shared], segment())
    books.label({shared.id: "dog"}, OPERATOR)
    now_s = world.now_s
    limits = {"unlabelled_before_s": now_s + 1.0, "labelled_before_s": None}
    assert books.expire(**limits, limit=1) == 1
    assert books.expire(**limits, limit=9) == 1
    assert books.expire(**limits, limit=9) == 0
    digests, named = books.leaving(before_s=now_s + 1.0, limit=9)
    assert set(digests) == {kept(1).blob_sha256, kept(2).blob_sha256}
    assert named == {kept(2).blob_sha256}
    books.left(digests, now_s + 1.0)
    assert books.leaving(before_s=now_s + 1.0, limit=9) == ([], set())
    assert books.expire(unlabelled_before_s=None, labelled_before_s=now_s + 1.0, limit=9) == 1
    books.forget_segments(now_s + 1.0)
    assert books.segment("alpha", segment().name) is None


def test_a_page_far_down_is_found_by_the_index(world):
    books = world.plane.samples
    books.take([kept(number) for number in range(9)], segment())
    found, after = books.list(SampleFilter(), limit=2)
    # The moment and the name as one: of a moment alone a database would try every row that comes before.
    expected = "(captured_s,id)<(?,?)" if world.url.startswith("sqlite") else "Index Cond: (ROW(captured_s"
    assert expected in plan(world, books.list, SampleFilter(), after=after, limit=2)
    assert expected in plan(world, books.beside, SampleFilter(), found[0])


def test_samples_are_looked_up_and_never_gone_through(world):
    if not world.url.startswith("sqlite"):
        pytest.skip("of an empty table PostgreSQL takes any index")
    books = world.plane.samples
    for name in ("site", "source", "model"):
        told = plan(world, books.list, SampleFilter(**{name: "one"}), limit=2)
        assert f"USING INDEX ix_samples_{name}_captured_s_id ({name}=?)" in told
        assert "ORDER BY" not in told
    told = plan(world, books.expire, unlabelled_before_s=1.0, labelled_before_s=1.0, limit=9)
    assert "USING INDEX ix_samples_label_received_s (label=? AND received_s<?)" in told
    assert "USING INDEX ix_samples_labelled_at_s (labelled_at_s<?)" in told
    with asked(world) as statements:
        books.leaving(before_s=1.0, limit=9)
    with world.plane._books.reading() as connection:
        (statement, parameters) = next(one for one in statements if "sample_blobs_leaving" in one[0])
        told = str(list(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)))
    assert "ix_sample_blobs_leaving_since_s" in told


def test_labels_are_counted_once_and_stay_right(world, failing):
    def check():
        with world.plane._books.reading() as connection:
            counted = count_labels(connection)
        counts = world.plane.samples.counts()
        assert {**counts.labels, "": counts.unlabelled} == {"": 0, **counted}

    books = world.plane.samples
    assert (books.counts().labels, books.counts().unlabelled) == ({}, 0)
    with asked(world) as statements:
        books.take([kept(number, captured_s=1.0) for number in range(8)], segment())
        books.label({kept(0).id: "dog", kept(1).id: "dog", kept(2).id: "cat"}, OPERATOR)
        books.label({kept(0).id: "cat", kept(1).id: ""}, OPERATOR)
        books.bring(kept(20, source="new", label="fox"), OPERATOR)
        books.bring(kept(20, id="9" * 32, source="new", label="dog"), OPERATOR)
        books.delete(kept(0).id, OPERATOR)
        counts = books.counts()
    assert not [statement for statement, _ in statements if "count(" in statement.lower()]
    assert (counts.labels, counts.unlabelled) == ({"cat": 1, "dog": 1}, 6)
    check()
    assert books.expire(unlabelled_before_s=world.now_s + 1.0, labelled_before_s=world.now_s + 1.0, limit=7) == 7
    check()
    books.take([kept(30)], segment("1-0-w0.5f3a9c01-0000000009"))
    for after in (False, True):
        label = "lost" if after else "never"
        with failing(world, after=after, spared=1), pytest.raises(UnavailableError):
            books.label({kept(30).id: label}, OPERATOR)
        check()
        assert world.plane._books.known
    assert "lost" in books.counts().labels


def test_blobs_that_no_sample_names_are_to_be_looked_at(world):
    books = world.plane.samples
    books.take([kept(1), kept(2)], segment())
    theirs = kept(1, site="beta", blob_sha256="e" * 64)
    books.take([theirs, kept(3, site="beta")], segment(site="beta"))
    # Once more the same: its picture is named.
    books.take([kept(2)], segment("1-0-w0.5f3a9c01-0000000002"))
    assert books.leaving(before_s=2e9, limit=9) == (["e" * 64], set())


def test_a_blob_that_was_let_go_again_meanwhile_is_looked_at_again(world):
    books, before_s = world.plane.samples, world.now_s + 1.0
    books.take([kept(1), kept(2, blob_sha256=kept(1).blob_sha256)], segment())
    books.delete(kept(1).id, OPERATOR)
    digests, _ = books.leaving(before_s=before_s, limit=9)
    world.now_s += 5.0
    books.delete(kept(2).id, OPERATOR)
    books.left(digests, before_s)
    assert books.leaving(before_s=world.now_s + 1.0, limit=9) == (digests, set())


@pytest.mark.parametrize("captured_s", [-1.5, 1e-05, 1e22, 1_790_000_000.25])
def test_pages_follow_on_samples_of_any_time(world, captured_s):
    books = world.plane.samples
    books.take([kept(number, captured_s=captured_s) for number in range(3)], segment())
    _, after = books.list(SampleFilter(), limit=1)
    found, _ = books.list(SampleFilter(), after=after, limit=9)
    assert [one.id for one in found] == [kept(1).id, kept(0).id]
