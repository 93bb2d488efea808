"""Whether the gateway can start with the gateway.toml that a rendered system gives it."""

import re
from pathlib import Path, PurePosixPath

from e2e.manifests.pods import pod_of
from e2e.manifests.rendering import Object, called, of_kind
from edgewise.core.errors import EdgewiseError
from edgewise.gateway.options import GatewayOptions
from edgewise.gateway.toml_config import load_config

_FILES = re.compile(r'^(ca|cert|key|api_key_file) = "(/[^"]+)"$', re.MULTILINE)


def config_mistakes(objects: list[Object], folder: Path) -> list[str]:
    """What the gateway would refuse or not find.

    Args:
        folder: for what stands in for the files that the pod has mounted.
    """
    deployment = called(objects, "Deployment", "gateway")
    text = called(objects, "ConfigMap", "gateway-config")["data"]["gateway.toml"]
    mounts = {mount["mountPath"] for mount in pod_of(deployment)["containers"][0]["volumeMounts"]}
    mistakes = []

    def there(found: re.Match[str]) -> str:
        path = PurePosixPath(found[2])
        if str(path.parent) not in mounts:
            mistakes.append(f"{found[1]} is {path}, and nothing is mounted there")
        stand_in = folder / path.name
        stand_in.touch()
        return f'{found[1]} = "{stand_in}"'

    (folder / "gateway.toml").write_text(_FILES.sub(there, text))
    try:
        config = load_config(GatewayOptions(config=folder / "gateway.toml"))
    except EdgewiseError as error:
        return [*mistakes, error.message]
    services = {
        item["metadata"]["name"]: {port["name"]: port["port"] for port in item["spec"]["ports"]}
        for item in of_kind(objects, "Service")
    }
    secured = any(
        "--tls-cert" in word for word in pod_of(called(objects, "Deployment", "model-server"))["containers"][0]["args"]
    )
    for site in config.sites:
        address = site.rest
        if address is None or "." in address.host:
            continue
        if services.get(address.host, {}).get("rest") != address.port:
            mistakes.append(f"site {site.name}: no Service has {address.host}:{address.port}")
        if address.tls is not secured:
            mistakes.append(f"site {site.name}: one side speaks TLS and the other does not")
    return mistakes
