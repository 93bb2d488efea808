"""The gRPC methods that the gateway passes on, and how the model is found in their requests."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from edgewise.protocols.answers import Form
from edgewise.protocols.grpc_services import INFERENCE_SERVICE, MODEL_SERVICE, PREDICTION_SERVICE
from edgewise.protocols.model_names import (
    FindModel,
    NamesVersion,
    model_in_name,
    model_in_spec,
    model_in_tasks,
    no_model,
    version_in_spec,
    version_in_tasks,
    version_of_name,
)


@dataclass(frozen=True, slots=True, eq=False)
class ForwardedMethod:
    """A unary method of a site.

    Attributes:
        path: such as b"/package.Service/Method".
        find_model: the model that a request names.
        predicts: its answers say how quick predictions are; questions do not, and may be asked twice.
        names_version: whether a prediction names a version or label; None for questions.
        form: what its answers are, where two of them can be compared.
    """

    path: bytes
    find_model: FindModel
    predicts: bool
    names_version: NamesVersion | None = None
    form: Form | None = None


def _methods() -> dict[str, ForwardedMethod]:
    predictions: tuple[tuple[str, FindModel, NamesVersion, Form | None], ...] = (
        (f"/{PREDICTION_SERVICE}/Predict", model_in_spec, version_in_spec, Form.TFS_GRPC),
        (f"/{PREDICTION_SERVICE}/Classify", model_in_spec, version_in_spec, None),
        (f"/{PREDICTION_SERVICE}/Regress", model_in_spec, version_in_spec, None),
        (f"/{PREDICTION_SERVICE}/MultiInference", model_in_tasks, version_in_tasks, None),
        (f"/{INFERENCE_SERVICE}/ModelInfer", model_in_name, version_of_name, Form.OIP_GRPC),
    )
    questions = {
        f"/{PREDICTION_SERVICE}/GetModelMetadata": model_in_spec,
        f"/{MODEL_SERVICE}/GetModelStatus": model_in_spec,
        f"/{INFERENCE_SERVICE}/ServerMetadata": no_model,
        f"/{INFERENCE_SERVICE}/ModelMetadata": model_in_name,
        f"/{INFERENCE_SERVICE}/ModelReady": model_in_name,
        # Triton's own, which only read.
        f"/{INFERENCE_SERVICE}/ModelConfig": model_in_name,
        f"/{INFERENCE_SERVICE}/ModelStatistics": model_in_name,
    }
    return {
        **{
            name: ForwardedMethod(name.encode(), find_model, predicts=True, names_version=names_version, form=form)
            for name, find_model, names_version, form in predictions
        },
        **{name: ForwardedMethod(name.encode(), find_model, predicts=False) for name, find_model in questions.items()},
    }


FORWARDED: Final = MappingProxyType(_methods())
"""By full name. What changes a site is not among them: the gateway does not know whom it is meant for."""

RELOAD: Final = f"/{MODEL_SERVICE}/HandleReloadConfigRequest"
SERVER_LIVE: Final = f"/{INFERENCE_SERVICE}/ServerLive"
SERVER_READY: Final = f"/{INFERENCE_SERVICE}/ServerReady"
SERVICES: Final = (PREDICTION_SERVICE, MODEL_SERVICE, INFERENCE_SERVICE)
