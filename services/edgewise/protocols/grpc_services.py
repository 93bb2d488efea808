"""The full names of the gRPC services; apart from what decodes their messages, which not everybody who names them needs."""

from typing import Final

PREDICTION_SERVICE: Final = "tensorflow.serving.PredictionService"
MODEL_SERVICE: Final = "tensorflow.serving.ModelService"
INFERENCE_SERVICE: Final = "inference.GRPCInferenceService"
