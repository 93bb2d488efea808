"""The API's description of itself."""

import re

from edgewise.hub.api.app import API_ROUTERS


def test_openapi_describes_every_route(world):
    value = world.nobody.get("/openapi.json").json()
    assert value["openapi"].startswith("3.")
    assert not [name for name in value["components"]["schemas"] if "__" in name]
    described = {(path, method) for path, operations in value["paths"].items() for method in operations}
    routes = {
        (route.path.replace(":path}", "}"), method.lower())
        for router in API_ROUTERS
        for route in router.routes
        for method in route.methods
        if route.include_in_schema
    }
    assert described == routes
    for operations in value["paths"].values():
        for operation in operations.values():
            assert operation["summary"]
            assert operation["x-edgewise-opened-by"]
            assert "422" not in operation["responses"]
            undescribed = [one["name"] for one in operation.get("parameters", ()) if not one.get("description")]
            assert not undescribed, operation["summary"]


def test_fields_of_bodies_are_described(world):
    schemas = world.nobody.get("/openapi.json").json()["components"]["schemas"]
    for name in ("EnrollmentAsked", "RolloutMade", "TokenAsked", "Refusal", "Enrolled"):
        properties = schemas[name]["properties"].values()
        assert all("description" in one for one in properties), name


def test_the_page_needs_nothing_from_elsewhere(world):
    page = world.nobody.get("/docs").text
    assert "<script" not in page
    assert re.findall(r'(?:src|href)="([^"]*)"', page) == ["/openapi.json"]
    for path in world.nobody.get("/openapi.json").json()["paths"]:
        assert path in page
