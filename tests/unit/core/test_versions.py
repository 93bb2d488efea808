import pytest

from edgewise.core.errors import Code, FailedPreconditionError, InvalidArgumentError, NotFoundError
from edgewise.core.requests import ModelSpec
from edgewise.core.version_plan import MAX_REMEMBERED, RETRY_BASE_S, RETRY_CAP_S, ModelVersions, retry_delay_s
from edgewise.core.versions import (
    TRANSITIONS,
    All,
    Latest,
    ServedModelConfig,
    ServerConfig,
    Specific,
    VersionState,
    VersionStatus,
    aspired,
    check_config,
    check_labels,
    is_model_name,
    not_servable,
    resolve_label,
)


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        (Latest(), {30}),
        (Latest(0), {30}),
        (Latest(2), {30, 7}),
        (Latest(9), {30, 7, 1}),
        (All(), {1, 7, 30}),
        (Specific((7, 1, 99)), {7, 1}),
        (Specific(()), set()),
    ],
)
def test_policy_chooses_among_what_is_found(policy, wanted):
    assert aspired([1, 30, 7], policy) == wanted


def test_every_state_has_a_way_on():
    assert {state for state, _ in TRANSITIONS} == set(VersionState)


@pytest.mark.parametrize("name", ["pets", "a.b-c_1", "1", "a" * 128])
def test_model_names(name):
    assert is_model_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "a b", "pets\n", "ä", "a" * 129])
def test_names_that_are_none(name):
    assert not is_model_name(name)


def model(name="m", **changes):
    return ServedModelConfig(**{"name": name, "base_path": "/models/m", **changes})


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ((model(), model()), "Illegal to list model m multiple times in config list"),
        ((model(base_path=""),), "Expected model m to have a base_path; it has none"),
        (
            (model("a/b"),),
            (
                "Illegal model name 'a/b': it is made of up to 128 letters, digits, '_', '-' and '.', "
                "and does not begin with '.'"
            ),
        ),
    ],
)
def test_config_that_cannot_be_served(models, message):
    with pytest.raises(InvalidArgumentError) as caught:
        check_config(ServerConfig(models))
    assert caught.value.message == message


def test_platform_of_a_served_model_stays():
    served = ServerConfig((model(platform="tensorflow"),))
    check_config(ServerConfig((model(platform="tensorflow"), model("n", platform="onnx"))), served)
    with pytest.raises(InvalidArgumentError) as caught:
        check_config(ServerConfig((model(platform="onnx"),)), served)
    assert caught.value.message == (
        "Illegal to change a model's platform. For model m platform was tensorflow and new platform requested is onnx."
    )


@pytest.mark.parametrize(
    ("labels", "current", "allow", "accepted"),
    [
        ({"stable": 1}, {}, False, True),
        ({"stable": 2}, {}, False, False),
        ({"stable": 2}, {}, True, True),
        ({"stable": 2}, {"stable": 2}, False, False),
        ({"stable": 2}, {"stable": 2}, True, True),
        ({"stable": 2}, {"stable": 1}, True, False),
        ({"stable": 1, "canary": 2}, {"stable": 1}, True, True),
        ({}, {"stable": 1}, False, True),
    ],
)
def test_labels_point_at_versions_that_answer(labels, current, allow, accepted):
    config = model(labels=labels)
    if accepted:
        check_labels(config, available={1}, current=current, allow_unavailable=allow)
        return
    with pytest.raises(FailedPreconditionError) as caught:
        check_labels(config, available={1}, current=current, allow_unavailable=allow)
    assert caught.value.message == (
        "Request to assign label to version 2 of model m, which is not currently available for inference"
    )


def test_labels_resolve():
    assert resolve_label("stable", {"stable": 3}) == 3
    for labels in ({}, {"canary": 1}, None):
        with pytest.raises(InvalidArgumentError) as caught:
            resolve_label("stable", labels)
        assert caught.value.message == "Unrecognized servable version label: stable"


@pytest.mark.parametrize(
    ("spec", "version", "kind", "message"),
    [
        (ModelSpec("m"), None, NotFoundError, "Servable not found for request: Latest(m)"),
        (ModelSpec("m", version=3), None, NotFoundError, "Servable not found for request: Specific(m, 3)"),
        (ModelSpec("m", version=0), None, NotFoundError, "Servable not found for request: Specific(m, 0)"),
        (ModelSpec("m", label="x"), 4, NotFoundError, "Servable not found for request: Specific(m, 4)"),
        (ModelSpec(""), None, InvalidArgumentError, "ModelSpec has no name specified."),
    ],
)
def test_error_for_what_is_not_there(spec, version, kind, message):
    error = not_servable(spec, version)
    assert type(error) is kind
    assert error.message == message


def test_a_config_names_the_version_for_requests_that_name_none():
    assert model(labels={"stable": 2, "default": 1}).default_version == 1
    assert model(labels={"stable": 2}).default_version is None


def test_retry_delay_doubles_to_its_cap():
    assert [retry_delay_s(n) for n in (1, 2, 3)] == [RETRY_BASE_S, 2 * RETRY_BASE_S, 4 * RETRY_BASE_S]
    assert retry_delay_s(50) == RETRY_CAP_S


class Story:
    """A model's versions, driven by hand at virtual time 0."""

    def __init__(self, policy, *files):
        self.now_s = 0.0
        self.versions = ModelVersions(policy)
        self.see(*files)

    def see(self, *files):
        self.versions.observe(dict.fromkeys(files, "files"))

    def load(self, version):
        assert version in self.versions.next_loads(self.now_s)
        self.versions.began_loading(version)
        self.versions.loaded(version)

    def fail(self, version, message="broken"):
        assert version in self.versions.next_loads(self.now_s)
        self.versions.began_loading(version)
        self.versions.failed(version, Code.FAILED_PRECONDITION, message, self.now_s)

    def unload(self, *expected):
        assert self.versions.next_unloads() == list(expected)
        for version in expected:
            self.versions.began_unloading(version)
            self.versions.unloaded(version)


def test_next_version_takes_over():
    story = Story(Latest(), 1)
    story.load(1)
    story.see(1, 2)
    story.unload()
    story.load(2)
    story.unload(1)
    assert [(s.version, s.state) for s in story.versions.statuses()] == [
        (2, VersionState.AVAILABLE),
        (1, VersionState.END),
    ]


def test_failed_version_leaves_the_old_one_and_says_why():
    story = Story(Latest(), 1)
    story.load(1)
    story.see(1, 2)
    story.fail(2, "no such operator")
    story.unload()
    assert story.versions.available() == {1}
    status = story.versions.statuses()[0]
    assert (status.version, status.state) == (2, VersionState.END)
    assert (status.error_code, status.error_message) == (Code.FAILED_PRECONDITION, "no such operator")
    assert story.versions.settled(story.now_s)


def test_failed_version_is_tried_again_after_a_growing_delay_or_when_its_files_change():
    story = Story(Latest(), 1)
    for failures in (1, 2, 3):
        story.fail(1)
        assert story.versions.next_loads(story.now_s) == []
        assert story.versions.failures()[0].error_message == "broken"
        retry_s = story.versions.next_retry_s()
        assert retry_s == story.now_s + retry_delay_s(failures)
        story.now_s = retry_s
    story.fail(1)
    story.versions.observe({1: "other files"})
    story.versions.began_loading(1)
    assert story.versions.statuses() == [VersionStatus(1, VersionState.LOADING)]
    story.versions.loaded(1)
    assert story.versions.next_retry_s() is None


def test_files_that_change_while_they_are_read_are_read_again():
    story = Story(Latest(), 1)
    story.versions.began_loading(1)
    story.versions.observe({1: "complete"})
    story.versions.failed(1, Code.FAILED_PRECONDITION, "truncated", 0.0)
    assert story.versions.next_loads(0.0) == [1]


def test_version_that_comes_back_is_new():
    story = Story(Latest(), 1)
    story.fail(1)
    story.see()
    story.see(1)
    story.load(1)


def test_removed_files_go_on_answering_until_the_replacement_is_up():
    story = Story(Latest(), 1, 3)
    story.load(3)
    story.see(1)
    story.unload()
    story.load(1)
    story.unload(3)


def test_last_version_outlives_its_files():
    story = Story(All(), 1, 2)
    story.load(2)
    story.load(1)
    story.see()
    story.unload(1)
    assert story.versions.available() == {2}


def test_two_wanted_versions_replace_two_one_by_one():
    story = Story(Specific((1, 2)), 1, 2, 3, 4)
    story.load(2)
    story.load(1)
    story.versions.configure(Specific((3, 4)))
    story.unload()
    story.load(4)
    story.unload(1)
    story.fail(3)
    story.unload()
    assert story.versions.available() == {2, 4}


def test_restart_beside_a_broken_version_serves_the_one_before():
    story = Story(Latest(), 1, 2, 3)
    assert story.versions.next_loads(0.0) == [3]
    story.fail(3)
    story.fail(2)
    story.load(1)
    story.unload()
    assert story.versions.available() == {1}
    story.now_s = RETRY_BASE_S
    story.load(3)
    story.unload(1)


def test_specific_versions_have_no_substitute():
    story = Story(Specific((2,)), 1, 2)
    story.fail(2)
    assert story.versions.next_loads(0.0) == []


def test_the_default_version_is_wanted_whatever_the_policy_says():
    for policy in (Latest(), Specific((2,))):
        story = Story(policy, 1)
        story.versions.default = 1
        story.load(1)
        story.see(1, 2)
        assert story.versions.aspired() == {1, 2}
        story.load(2)
        story.unload()
        assert story.versions.available() == {1, 2}
        # After a restart both come back.
        restarted = ModelVersions(policy, {1: "files", 2: "files"}, default=1)
        assert restarted.next_loads(0.0) == [2, 1]
        story.versions.default = 2
        story.unload(1)
        # What has no files cannot be loaded, and stays where it is.
        story.versions.default = 7
        assert story.versions.aspired() == {2}
        story.versions.default = 2
        story.see(3)
        if isinstance(policy, Latest):
            story.load(3)
        story.unload()
        assert 2 in story.versions.available()


def test_removed_model_goes_and_can_come_back():
    story = Story(Latest(), 1)
    story.load(1)
    story.versions.configure(None)
    assert not story.versions.gone()
    story.unload(1)
    assert story.versions.gone()
    story.versions.configure(Latest())
    story.see(1)
    story.load(1)


def test_model_removed_while_it_loads_is_unloaded_at_once():
    story = Story(Latest(), 1)
    story.versions.began_loading(1)
    story.versions.configure(None)
    assert not story.versions.gone()
    story.versions.loaded(1)
    story.unload(1)


def test_what_is_gone_is_not_remembered_for_ever():
    story = Story(Latest(), 1)
    for version in range(1, 3 * MAX_REMEMBERED):
        story.see(version)
        story.load(version)
        story.unload(*([version - 1] if version > 1 else []))
    story.see()
    assert len(story.versions.statuses()) <= MAX_REMEMBERED + 1


def test_impossible_event_is_a_mistake():
    versions = ModelVersions(Latest())
    versions.observe({1: "files"})
    versions.began_loading(1)
    with pytest.raises(ValueError) as caught:
        versions.began_unloading(1)
    assert str(caught.value) == "version 1 is LOADING: unload began cannot happen to it"
