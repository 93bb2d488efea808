"""An encoded photograph as the body: `locust -f loadtests/locustfiles/rest_image.py --host http://127.0.0.1:8080`."""

from swarm.session import install
from swarm.users import RestUser

install()


class RestImageUser(RestUser):
    """Asks with the JPEG file as it is."""

    protocol = "rest-image"
