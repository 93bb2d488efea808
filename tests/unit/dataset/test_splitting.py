import pytest

from edgewise.core.errors import FailedPreconditionError
from edgewise.dataset.grouping import group
from edgewise.dataset.splitting import divide

SHARES = (70, 15, 15)


def of(label, count, size=1, name=""):
    """Groups of one class: keys and counts."""
    return [(f"{name or label}-{number}", {label: size}) for number in range(count)]


def divided(groups, shares=SHARES, seed=1, **words):
    return divide([key for key, _ in groups], [counts for _, counts in groups], shares, seed, **words)


def counts(groups, splits):
    found = {}
    for (_, each), split in zip(groups, splits, strict=True):
        for label, count in each.items():
            found.setdefault(label, [0, 0, 0])[split] += count
    return found


def refusal(groups, **words):
    with pytest.raises(FailedPreconditionError) as caught:
        divided(groups, **words)
    return caught.value.message


def test_many_groups_come_near_the_shares_without_a_correction():
    groups = of("cat", 1000) + of("dog", 1000)
    found = divided(groups)
    assert not found.moved
    for have in counts(groups, found.splits).values():
        assert have == pytest.approx([700, 150, 150], abs=40)


@pytest.mark.parametrize("seed", range(20))
def test_small_classes_are_in_every_split(seed):
    groups = of("cat", 3) + of("dog", 7) + of("other", 200)
    found = counts(groups, divided(groups, seed=seed).splits)
    assert all(all(have) for have in found.values())
    assert found["dog"][0] >= 4


@pytest.mark.parametrize("seed", range(10))
def test_groups_of_several_classes_are_weighed_together(seed):
    groups = [(f"camera-{number}", {"cat": 1 + number % 3, "dog": 2}) for number in range(20)]
    groups += [("large", {"cat": 40})]
    found = counts(groups, divided(groups, seed=seed).splits)
    assert all(all(have) for have in found.values())
    assert found["dog"] == pytest.approx([28, 6, 6], abs=4)


def test_a_seed_splits_otherwise():
    groups = of("cat", 100)
    assert divided(groups, seed=1).splits != divided(groups, seed=2).splits


def test_a_share_of_nothing_gets_nothing():
    groups = of("cat", 50) + of("dog", 50)
    assert 1 not in divided(groups, shares=(80, 0, 20)).splits
    assert set(divided(groups, shares=(100, 0, 0)).splits) == {0}


def test_pictures_that_come_later_move_few_others():
    before = of("cat", 60, 2) + of("dog", 60, 2)
    after = before + of("cat", 15, 2, "new-cat") + of("dog", 10, 2, "new-dog")
    first, second = divided(before), divided(after)
    changed = {
        index for index, (one, other) in enumerate(zip(first.splits, second.splits, strict=False)) if one != other
    }
    assert changed <= first.moved | second.moved
    assert len(changed) <= 6


def test_a_class_with_one_picture():
    assert refusal(of("cat", 10) + of("dog", 1)) == (
        "the class 'dog' has 1 picture, and train, validation and test need one each; add pictures of it, or leave it out with "
        "[labels], or --allow-missing to have it in train only"
    )


def test_a_class_of_one_source():
    message = refusal([*of("cat", 10), ("door", {"dog": 30})], titles=["x"] * 10 + ["the source 'door'"])
    assert message == (
        "the class 'dog' has 30 pictures, which have to stay together: one source or nearly the same (the source 'door'), and train, "
        "validation and test need one each; add pictures of it from other sources, or leave it out with [labels], or --allow-missing "
        "to have it in train only"
    )


def test_a_class_of_two_sources():
    message = refusal(of("cat", 10) + of("dog", 2, 5))
    assert "'dog' has 10 pictures in 2 groups that have to stay together (dog-0 and dog-1)" in message
    groups = of("cat", 10) + of("dog", 2, 5)
    assert counts(groups, divided(groups, shares=(80, 0, 20)).splits)["dog"] == [5, 0, 5]


def test_what_may_be_missing_is_in_train():
    groups = of("cat", 10) + of("dog", 1)
    for seed in range(10):
        assert counts(groups, divided(groups, seed=seed, allow_missing=True).splits)["dog"] == [1, 0, 0]


def test_classes_that_cannot_be_parted():
    groups = [("both", {"cat": 3, "dog": 2}), ("all", {"cat": 3, "dog": 2, "owl": 1}), *of("cat", 5), *of("owl", 5)]
    assert "the class 'dog' has 4 pictures in 2 groups that have to stay together (both and all)" in refusal(groups)


def test_groups_join_by_source_by_likeness_and_by_doubles():
    groups = group([("a",), (), ("a",), ("b",), ("b", "c"), ("c",), ()], list("tuvwxyz"), [(1, 6)])
    assert {each.key: each.members for each in groups} == {
        "picture u": (1, 6),
        "source a": (0, 2),
        "source b": (3, 4, 5),
    }
