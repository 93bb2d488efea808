"""What is measured: the sites, links and gateway of a scenario, started as processes, or those that are there already.

    engine ──▶ link (HTTP) ──▶ cloud site        one link a protocol: a link relays one port
    engine ──▶ link (gRPC) ──▶ cloud site
    engine ──▶ edge site
    engine ──▶ gateway ──▶ link (HTTP) ──▶ cloud site, and edge site

Every model and batching gets processes of its own: starting a site takes half a second, and what the one before learned, allocated
and left in queues is gone with it. So does every network under the gateway, which otherwise would judge it by the one before.
"""

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from edgewise.core.errors import InvalidArgumentError, NotFoundError, UnavailableError
from edgewise.study.cells import CLOUD, EDGE, GATEWAY
from edgewise.study.model_store import ModelStore, cache_directory
from edgewise.study.parts import HOST, Part, ask, fetch
from edgewise.study.planning import asked_sites
from edgewise.study.scenario import ModelSpec, Scenario, SiteSpec
from edgewise.study.signatures import metadata_paths
from edgewise.study.world_addresses import (
    GRPC,
    HTTP,
    conditions,
    given_address,
    in_flight,
    parsed_address,
    site_of,
    transport_of,
)

NO_NETWORK: Final = "none"
SETTLE_TIMEOUT_S: Final = 20.0
_SETTLE_INTERVAL_S: Final = 0.05
_CONNECT_TIMEOUT_S: Final = 5.0
_EDGE_FIRST: Final = ("prefer-edge", "edge-only", "cascade")
_MAX_BATCH_SIZE: Final = 32
"""What a model server takes where model.toml says nothing."""
_ANY_PORT: Final = f"{HOST}:0"


class World:
    """The parts of one study; a context manager that ends them all.

    Args:
        scenario: what to start.
        directory: of the study: `logs/` and, while it runs, `world/` are made there.
        stop: ends waiting when set.
        cache: for built models; the user's by default.
        report: told what takes a while, for people.
    """

    def __init__(
        self,
        scenario: Scenario,
        directory: Path,
        *,
        stop: threading.Event | None = None,
        cache: Path | None = None,
        report: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._scenario = scenario
        self._logs = directory / "logs"
        self._files = directory / "world"
        self._stop = stop
        self._report = report
        self._store = ModelStore(cache or cache_directory(), self._logs / "models.log", stop)
        self._sites = {site.name: site for site in asked_sites(scenario)}
        self._transports = tuple(
            transport
            for transport in (HTTP, GRPC)
            if any(transport_of(protocol) == transport for protocol in scenario.sweep.protocols)
        )
        self._model: ModelSpec | None = None
        self._batching = ""
        self._profile = NO_NETWORK
        self._gateway_profile: str | None = None
        self._batches: dict[str, Mapping[str, Any]] = {}
        self._servers: dict[str, Part] = {}
        self._links: dict[tuple[str, str], Part] = {}
        self._gateway: Part | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # ---- what is there

    @property
    def serving(self) -> tuple[str, str]:
        """Names of the model and of the batching settings that are served; "" before the first, and when a part has died."""
        if self._model is None or not all(part.running for part in self._parts()):
            return "", ""
        return self._model.name, self._batching

    @property
    def pids(self) -> dict[str, int]:
        """Of the running parts, by name."""
        return {part.name: part.pid for part in self._parts()}

    def prepare(self, model: str) -> None:
        """Build what the sites need of a model, which takes long the first time.

        Raises: as `ModelStore.built`.
        """
        spec = self._spec(model)
        for site in self._sites.values():
            if not site.url:
                self._report(f"model {model} for {site.name}")
                self._store.built(spec, site)

    def serve(self, model: str, batching: str = "") -> None:
        """Serve this model and no other, with the scenario's batching settings of this name, from fresh processes.

        Returns: when every site that was started is ready, and the links to the clouds are.
        Raises:
            UnavailableError: a part did not become ready; the message has the end of its log.
            EdgewiseError: the model cannot be built or copied.
            CancelledError: the study was stopped.
        """
        spec = self._spec(model)
        if batching and any(site.url for site in self._sites.values()):
            raise InvalidArgumentError(
                f"the batching {batching!r} cannot be given to a site that is there already; leave its url or the batching out"
            )
        self._end_parts()
        settings = self._scenario.sweep.batching[batching] if batching else {}
        try:
            for site in self._sites.values():
                if not site.url:
                    repository = self._files / "sites" / site.name
                    self._batches[site.name] = self._store.copy(spec, site, settings, repository)
                    self._servers[site.name] = self._server(site, repository)
            self._wait(self._servers.values())
            for site in self._sites.values():
                if site.tier == CLOUD:
                    for transport in self._link_transports(site):
                        self._links[site.name, transport] = self._link(site, transport)
            self._wait(self._links.values())
        except BaseException:
            self._end_parts()
            raise
        self._model, self._batching = spec, batching
        self._profile = NO_NETWORK

    def set_profile(self, profile: str) -> None:
        """Give the links the network of this name, whole; "" is none.

        Raises: EdgewiseError: a link refused, or does not answer.
        """
        name = profile or NO_NETWORK
        own = self._scenario.profiles.get(name)
        said = {"profile": name} if own is None else {"profile": NO_NETWORK, **conditions(own)}
        self.tell_links({**said, "fault": None})
        self._profile = name

    def tell_links(self, said: Mapping[str, Any]) -> None:
        """Post this to the control API of every link.

        Raises: EdgewiseError: a link refused, or does not answer.
        """
        for part in self._links.values():
            ask((HOST, part.ports["control"]), "POST", "/state", dict(said))

    def begin_outage(self) -> None:
        """Let nothing pass to and from the clouds."""
        self.tell_links({"fault": "blackhole"})

    def end_outage(self) -> None:
        """End whatever fault the links have."""
        self.tell_links({"fault": None})

    def fresh_gateway(self, *, always: bool = False) -> bool:
        """Have a gateway that knows no other network than the present one.

        Args:
            always: replace it also when the network is the one that it started with, as after an outage.
        Returns: whether it was started by this call.
        Raises: UnavailableError: it did not become ready.
        """
        if self._scenario.gateway.url:
            return False
        if self._gateway is not None and not always and self._gateway_profile == self._profile:
            return False
        if self._gateway is not None:
            self._gateway.kill()
            self._gateway = None
        config = self._files / "gateway.toml"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(self._gateway_config(), encoding="utf-8")
        words = ("gateway", "--config", str(config), "--rest-port", "0", "--grpc-port", "0", "--drain-timeout-s", "0")
        self._gateway = Part("gateway", words, self._logs / "gateway.log")
        self._gateway_profile = self._profile
        self._wait([self._gateway])
        return True

    def address(self, target: str, transport: str) -> tuple[str, int]:
        """Where a target is asked: a cloud through its link.

        Args:
            transport: "http" or "grpc".
        Raises: NotFoundError: there is no such target, or it has no address for the transport.
        """
        if target == GATEWAY:
            return self._gateway_address(transport)
        site = site_of(self._scenario, target)
        link = self._links.get((site.name, transport))
        return (HOST, link.ports["link"]) if link is not None else self._site_address(site, transport)

    def describe(self, target: str) -> bytes:
        """What a target's server says of the model that is served.

        Raises: UnavailableError: it does not answer, or does not know the model.
        """
        address = self._direct_address(target)
        said = "it was not asked"
        for path in metadata_paths(self._served_as()):
            status, body = fetch(address, "GET", path)
            if status == HTTPStatus.OK:
                return body
            said = f"GET {path} was answered {status}"
        raise UnavailableError(f"the server at {address[0]}:{address[1]} does not tell about the model: {said}")

    def batches(self, target: str) -> tuple[int, int]:
        """How many batches a target runs at once, and how large they are at most; of a gateway, its preferred site's."""
        site = self._behind_gateway() if target == GATEWAY else site_of(self._scenario, target)
        told = self._batches.get(site.name)
        if told is None:
            return site.instances, 1
        return int(told.get("instances", 1)), int(told.get("max_batch_size", _MAX_BATCH_SIZE))

    def check_reachable(self, target: str, transport: str) -> None:
        """See whether somebody listens where a target is asked.

        Raises: UnavailableError: nobody does.
        """
        address = self.address(target, transport)
        if target != GATEWAY and site_of(self._scenario, target).url:
            # Behind a link, connecting would always work.
            address = self._site_address(site_of(self._scenario, target), transport)
        try:
            with socket.create_connection(address, timeout=_CONNECT_TIMEOUT_S):
                return
        except OSError as error:
            reason = error.strerror or str(error)
            raise UnavailableError(
                f"nobody listens at {address[0]}:{address[1]} ({target}, {transport}): {reason}"
            ) from None

    def check(self) -> None:
        """See whether every part still runs.

        Raises: UnavailableError: one has ended; the message says how, with the end of its log.
        """
        for part in self._parts():
            if not part.running:
                raise UnavailableError(part.obituary())

    def settle(self, timeout_s: float = SETTLE_TIMEOUT_S) -> bool:
        """Wait until the started sites have nothing to do any more.

        Returns: whether that came in time.
        """
        until_s = time.monotonic() + timeout_s
        while any(in_flight((HOST, part.ports["rest"])) for part in self._servers.values()):
            if time.monotonic() > until_s or (self._stop is not None and self._stop.is_set()):
                return False
            time.sleep(_SETTLE_INTERVAL_S)
        return True

    def close(self) -> None:
        """End every part, and take the copies of models away; the logs stay."""
        self._end_parts()
        shutil.rmtree(self._files, ignore_errors=True)

    # ---- parts

    def _server(self, site: SiteSpec, repository: Path) -> Part:
        words = (
            *("serve", "--repository", str(repository), "--poll-interval-s", "0"),
            *("--rest-port", "0", "--grpc-port", "0", "--drain-timeout-s", "0"),
            *("--site", site.name, "--tier", site.tier, "--threads", str(site.threads)),
        )
        return Part(site.name, words, self._logs / f"{site.name}.log", site.cpus)

    def _link(self, site: SiteSpec, transport: str) -> Part:
        host, port = self._site_address(site, transport)
        name = f"link-{site.name}-{transport}"
        to = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        words = (
            *("link", "--listen", _ANY_PORT, "--to", to, "--control", _ANY_PORT, "--profile", NO_NETWORK),
            *("--seed", str(self._scenario.seed), "--name", name),
        )
        return Part(name, words, self._logs / f"{name}.log")

    def _link_transports(self, site: SiteSpec) -> tuple[str, ...]:
        # The gateway asks every site over HTTP, also for gRPC calls.
        gateway_asks = GATEWAY in self._scenario.sweep.targets and not self._scenario.gateway.url
        wanted = [HTTP, *self._transports] if gateway_asks else self._transports
        return tuple(
            transport
            for transport in dict.fromkeys(wanted)
            if not site.url or given_address(site, transport) is not None
        )

    def _gateway_config(self) -> str:
        lines = []
        for site in self._sites.values():
            host, port = self.address(site.name, HTTP)
            shown = f"[{host}]" if ":" in host else host
            lines += [
                "[[site]]",
                f'name = "{site.name}"',
                f'tier = "{site.tier}"',
                f'rest = "http://{shown}:{port}"',
                "",
            ]
        spec = self._scenario.gateway
        route = "" if "[route]" in spec.config else f'[route]\nkind = "{spec.route}"\n\n'
        return "\n".join(lines) + "\n" + route + spec.config

    def _wait(self, parts: Iterable[Part]) -> None:
        for part in parts:
            part.wait_ready(self._stop)

    def _parts(self) -> list[Part]:
        """In the order in which they are started."""
        gateway = [self._gateway] if self._gateway is not None else []
        return [*self._servers.values(), *self._links.values(), *gateway]

    def _end_parts(self) -> None:
        parts = self._parts()[::-1]
        for part in parts:
            part.ask_to_stop()
        for part in parts:
            part.stop()
        self._servers, self._links, self._gateway = {}, {}, None
        self._model, self._batching, self._gateway_profile = None, "", None

    # ---- addresses

    def _site_address(self, site: SiteSpec, transport: str) -> tuple[str, int]:
        if site.url or site.grpc:
            given = given_address(site, transport)
            if given is None:
                raise NotFoundError(
                    f"the site {site.name!r} has no address for {transport}; give it one in the scenario"
                )
            return given
        part = self._servers.get(site.name)
        if part is None:
            raise NotFoundError(f"the site {site.name!r} is not started; serve a model first")
        return HOST, part.ports["rest" if transport == HTTP else "grpc"]

    def _gateway_address(self, transport: str) -> tuple[str, int]:
        spec = self._scenario.gateway
        if spec.url or spec.grpc:
            word = spec.url if transport == HTTP else spec.grpc
            if not word:
                raise NotFoundError(f"the gateway has no address for {transport}; give it one in the scenario")
            return parsed_address(word)
        if self._gateway is None:
            self.fresh_gateway()
        if self._gateway is None:
            raise UnavailableError("the gateway is not started")
        return HOST, self._gateway.ports["rest" if transport == HTTP else "grpc"]

    def _direct_address(self, target: str) -> tuple[str, int]:
        return (
            self._gateway_address(HTTP)
            if target == GATEWAY
            else self._site_address(site_of(self._scenario, target), HTTP)
        )

    def _behind_gateway(self) -> SiteSpec:
        """The site that a gateway asks first."""
        tier = EDGE if self._scenario.gateway.route in _EDGE_FIRST else CLOUD
        return next(site for site in self._scenario.sites if site.tier == tier)

    def _spec(self, model: str) -> ModelSpec:
        for spec in self._scenario.models:
            if spec.name == model:
                return spec
        raise NotFoundError(f"the scenario has no model {model!r}")

    def _served_as(self) -> str:
        return self._model.served_as if self._model is not None else ""
