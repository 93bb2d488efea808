"""All pages together."""

import time

from fastapi import APIRouter

from edgewise.hub.pages.door import Door
from edgewise.hub.pages.hub_pages import HubPages
from edgewise.hub.pages.login_pages import LoginPages
from edgewise.hub.pages.missing import add_missing_page
from edgewise.hub.pages.port import Hub
from edgewise.hub.pages.rendering import Renderer
from edgewise.hub.pages.rollout_forms import RolloutForms
from edgewise.hub.pages.rollout_pages import RolloutPages
from edgewise.hub.pages.sample_forms import SampleForms
from edgewise.hub.pages.sample_pages import SamplePages
from edgewise.hub.pages.sessions import Sessions
from edgewise.hub.pages.site_pages import SitePages


def pages_router(hub: Hub) -> APIRouter:
    """The pages of a hub."""
    renderer = Renderer(hub.clock)
    door = Door(hub, Sessions(time.monotonic), renderer)
    router = APIRouter(route_class=door.route_class())
    LoginPages(door, renderer.assets).add_to(router)
    HubPages(hub, door).add_to(router)
    SitePages(hub, door).add_to(router)
    RolloutForms(hub, door).add_to(router)
    RolloutPages(hub, door).add_to(router)
    samples = SamplePages(hub, door)
    SampleForms(hub, door, samples).add_to(router)
    samples.add_to(router)
    add_missing_page(router, door)
    return router
