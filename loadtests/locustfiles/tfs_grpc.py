"""TensorFlow Serving over gRPC: `locust -f loadtests/locustfiles/tfs_grpc.py --host 127.0.0.1:8081`."""

from swarm.session import install
from swarm.users import GrpcUser

install()


class TfsGrpcUser(GrpcUser):
    """Calls `tensorflow.serving.PredictionService/Predict`."""

    protocol = "tfs-grpc"
