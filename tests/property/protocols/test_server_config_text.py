"""A model config file that was written says what it was made of."""

from hypothesis import given
from hypothesis import strategies as st

from edgewise.core.versions import All, Latest, ServedModelConfig, ServerConfig, Specific
from edgewise.protocols.server_config import parse_model_server_config
from edgewise.protocols.server_config_text import model_server_config_text

VERSIONS = st.integers(0, 2**63 - 1)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30)
POLICIES = st.one_of(
    st.builds(Latest, st.integers(1, 2**31)),
    st.just(All()),
    st.builds(Specific, st.lists(VERSIONS, min_size=1, max_size=5).map(tuple)),
)
MODELS = st.builds(
    ServedModelConfig,
    name=TEXTS,
    base_path=TEXTS,
    policy=POLICIES,
    labels=st.dictionaries(TEXTS, VERSIONS, max_size=4),
    platform=TEXTS,
)


@given(models=st.lists(MODELS, max_size=4))
def test_read_again_it_is_the_same(models):
    config = ServerConfig(tuple(models))
    text = model_server_config_text(config)
    assert parse_model_server_config(text, "it") == config
    assert model_server_config_text(parse_model_server_config(text, "it")) == text
