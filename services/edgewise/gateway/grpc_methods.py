"""The gRPC methods that the gateway passes on, and how the model is found in their requests."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from edgewise.protocols.grpc_services import INFERENCE_SERVICE, MODEL_SERVICE, PREDICTION_SERVICE
from edgewise.protocols.model_names import FindModel, model_in_name, model_in_spec, model_in_tasks, no_model


@dataclass(frozen=True, slots=True, eq=False)
class ForwardedMethod:
    """A unary method of a site.

    Attributes:
        path: such as b"/package.Service/Method".
        find_model: the model that a request names.
        predicts: its answers say how quick predictions are; questions do not, and may be asked twice.
    """

    path: bytes
    find_model: FindModel
    predicts: bool


def _methods() -> dict[str, ForwardedMethod]:
    predictions = {
        f"/{PREDICTION_SERVICE}/Predict": model_in_spec,
        f"/{PREDICTION_SERVICE}/Classify": model_in_spec,
        f"/{PREDICTION_SERVICE}/Regress": model_in_spec,
        f"/{PREDICTION_SERVICE}/MultiInference": model_in_tasks,
        f"/{INFERENCE_SERVICE}/ModelInfer": model_in_name,
    }
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
        name: ForwardedMethod(name.encode(), find_model, predicts)
        for methods, predicts in ((predictions, True), (questions, False))
        for name, find_model in methods.items()
    }


FORWARDED: Final = MappingProxyType(_methods())
"""By full name. What changes a site is not among them: the gateway does not know whom it is meant for."""

RELOAD: Final = f"/{MODEL_SERVICE}/HandleReloadConfigRequest"
SERVER_LIVE: Final = f"/{INFERENCE_SERVICE}/ServerLive"
SERVER_READY: Final = f"/{INFERENCE_SERVICE}/ServerReady"
SERVICES: Final = (PREDICTION_SERVICE, MODEL_SERVICE, INFERENCE_SERVICE)
