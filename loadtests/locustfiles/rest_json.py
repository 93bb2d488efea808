"""TensorFlow Serving's JSON over HTTP: `locust -f loadtests/locustfiles/rest_json.py --host http://127.0.0.1:8080`."""

from swarm.session import install
from swarm.users import RestUser

install()


class RestJsonUser(RestUser):
    """Asks with `{"instances": [...]}`; a model of photographs gets them in base 64."""

    protocol = "rest-json"
