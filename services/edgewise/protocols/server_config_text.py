"""A model config file of TensorFlow Serving, written: what `server_config` reads, and any server that follows such a file."""

from edgewise.core.versions import All, Latest, ServedModelConfig, ServerConfig, Specific
from edgewise.wire import server_config_pb2 as pb


def model_server_config_text(config: ServerConfig) -> str:
    """The text of a config; the same config is the same text."""
    # Only who writes such a file pays for the writer.
    from google.protobuf import text_format  # noqa: PLC0415

    message = pb.ModelServerConfig()
    message.model_config_list.SetInParent()
    for model in config.models:
        _write_model(model, message.model_config_list.config.add())
    # Not text_format's own bytes for characters that are not ASCII: base paths stay readable.
    return text_format.MessageToString(message, as_utf8=True)


def _write_model(model: ServedModelConfig, written: pb.ModelConfig) -> None:
    written.name = model.name
    written.base_path = model.base_path
    written.model_platform = model.platform
    policy = written.model_version_policy
    match model.policy:
        case Latest(count):
            policy.latest.num_versions = count
        case All():
            policy.all.SetInParent()
        case Specific(versions):
            policy.specific.versions.extend(versions)
    for label, version in sorted(model.labels.items()):
        written.version_labels[label] = version
