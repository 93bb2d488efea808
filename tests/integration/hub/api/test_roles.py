"""Who may call what: every route, by everybody."""

import pytest
from fastapi import APIRouter

from edgewise.hub.api.access import GuardedRoute, need_of
from edgewise.hub.api.app import API_ROUTERS
from edgewise.hub.control.actors import Role
from support.api_world import NOBODY

ROUTES = [
    pytest.param(route, method, id=f"{method} {route.path}")
    for router in API_ROUTERS
    for route in router.routes
    for method in sorted(route.methods)
]
EXPECTED = {
    "GET /healthz": "everybody",
    "GET /metrics": "viewer",
    "GET /openapi.json": "everybody",
    "GET /docs": "everybody",
    "POST /api/v1/enroll": "everybody",
    "GET /api/v1/sites/{site}/desired": "viewer or that site",
    "POST /api/v1/sites/{site}/reports": "that site",
    "GET /api/v1/sites/{site}/segments/{name}": "that site",
    "PATCH /api/v1/sites/{site}/segments/{name}": "that site",
    "GET /tuf/metadata/{file}": "viewer or any site",
    "GET /tuf/targets/{path:path}": "viewer or any site",
    "PUT /api/v1/targets/{path:path}": "operator",
    "POST /api/v1/metadata/targets": "operator",
    "POST /api/v1/metadata/root": "admin",
    "POST /api/v1/bundles": "operator",
    "GET /blobs/sha256/{sha256}": "viewer or any site",
    "HEAD /blobs/sha256/{sha256}": "viewer or any site",
    "PUT /blobs/sha256/{sha256}": "operator",
    "POST /api/v1/blobs/prune": "admin",
    "GET /api/v1/releases": "viewer",
    "GET /api/v1/releases/{model}/{version}": "viewer",
    "GET /api/v1/sites": "viewer",
    "GET /api/v1/sites/{site}": "viewer",
    "PATCH /api/v1/sites/{site}": "operator",
    "POST /api/v1/sites/{site}/retire": "admin",
    "POST /api/v1/enrollments": "admin",
    "POST /api/v1/rollouts/plan": "viewer",
    "POST /api/v1/rollouts": "operator",
    "GET /api/v1/rollouts": "viewer",
    "GET /api/v1/rollouts/{name}": "viewer",
    "POST /api/v1/rollouts/{name}/{verb}": "operator",
    "GET /api/v1/rollouts/{name}/history": "viewer",
    "GET /api/v1/samples": "viewer",
    "POST /api/v1/samples": "operator",
    "GET /api/v1/samples/{sample}": "viewer",
    "DELETE /api/v1/samples/{sample}": "operator",
    "GET /api/v1/samples/{sample}/picture": "viewer",
    "PUT /api/v1/samples/{sample}/label": "operator",
    "GET /api/v1/labels": "viewer",
    "POST /api/v1/labels": "operator",
    "GET /api/v1/tokens": "admin",
    "POST /api/v1/tokens": "admin",
    "DELETE /api/v1/tokens/{name}": "admin",
    "GET /api/v1/audit": "viewer",
}
VALUES = {
    "{site}": "alpha",
    "{sha256}": "0" * 64,
    "{file}": "timestamp.json",
    "{version}": "1",
    "{verb}": "start",
    "{sample}": "0" * 32,
}


@pytest.fixture(scope="module")
def sites(world):
    return {name: world.site(name) for name in ("alpha", "beta")}


def filled(path):
    for name, value in VALUES.items():
        path = path.replace(name, value)
    return path.replace("{path:path}", "releases/nothing").replace("{name}", "nothing").replace("{model}", "nothing")


def is_open_to(expected, who):
    if expected == "everybody":
        return True
    if who == NOBODY:
        return False
    if isinstance(who, Role):
        first = expected.split(" or ")[0]
        return first in set(Role) and who.includes(Role(first))
    return "any site" in expected or ("that site" in expected and who == "alpha")


def test_every_route_is_in_the_table():
    assert {param.id for param in ROUTES} == set(EXPECTED)


@pytest.mark.parametrize(("route", "method"), ROUTES)
def test_a_route_is_open_to_whom_it_is_for(world, sites, route, method):
    expected = EXPECTED[f"{method} {route.path}"]
    callers = {**world.people, **{name: site.client for name, site in sites.items()}}
    for who, client in callers.items():
        if who == "alpha" and "retire" in route.path:
            continue
        body = {} if method in {"GET", "HEAD", "DELETE"} else {"content": b"{"}
        status = client.request(method, filled(route.path), **body).status_code
        if is_open_to(expected, who):
            assert status not in {401, 403}, who
        elif who == NOBODY:
            assert status == 401
        elif route.path.endswith("retire") and who == Role.ADMIN:
            pass
        else:
            assert status == 403, who
    if "retire" in route.path:
        sites["alpha"] = world.site("alpha")


def test_a_wrong_token_opens_nothing(world):
    for wrong in ("ewt_wrong", "Basic abc", ""):
        answer = world.nobody.get("/api/v1/sites", headers={"authorization": f"Bearer {wrong}" if wrong else "Bearer"})
        assert answer.status_code == 401
        assert answer.json()["code"] == "UNAUTHENTICATED"
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_nothing_is_read_of_a_body_before_the_caller_is_known(world):
    with world.connect() as connection:
        connection.sendall(b"POST /api/v1/tokens HTTP/1.1\r\nhost: hub\r\ncontent-length: 1000\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 401")


def test_a_route_cannot_be_added_without_saying_whom_it_is_for():
    router = APIRouter(route_class=GuardedRoute)

    async def forgotten():
        return {}

    with pytest.raises(LookupError, match="forgotten does not say who may call it"):
        router.add_api_route("/forgotten", forgotten)
    with pytest.raises(LookupError):
        need_of(forgotten)
