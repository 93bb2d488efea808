"""The Open Inference Protocol's binary tensors: `locust -f loadtests/locustfiles/rest_binary.py --host http://127.0.0.1:8080`."""

from swarm.session import install
from swarm.users import RestUser

install()


class RestBinaryUser(RestUser):
    """Asks with a JSON head and the tensors behind it."""

    protocol = "rest-binary"
