"""The Open Inference Protocol over gRPC: `locust -f loadtests/locustfiles/oip_grpc.py --host 127.0.0.1:8081`."""

from swarm.session import install
from swarm.users import GrpcUser

install()


class OipGrpcUser(GrpcUser):
    """Calls `inference.GRPCInferenceService/ModelInfer`."""

    protocol = "oip-grpc"
