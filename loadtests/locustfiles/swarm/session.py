"""What happens when in a locust process: options are read, questions made, engines started and ended, figures gathered.

local and worker   test_start: questions, engines. test_stopping: engines end, nothing in flight is dropped.
master             test_start: tells workers what they cannot know. test_stopping: waits until workers' engines have ended.
local and master   quit: the table of exact figures.
"""

import logging
import sys
import time
from pathlib import Path
from typing import Any

import gevent
import locust
import locust.stats
from locust.runners import MasterRunner, WorkerRunner
from shapes import shape_of

from edgewise.core.errors import EdgewiseError
from swarm import comparison, csv_files, options
from swarm.asking import asking_for, target_of
from swarm.engine_messages import Batch
from swarm.figures import OPEN, Figures, Row, three_digits_ms
from swarm.lane import BatchTeller, Lane, RequestError
from swarm.open_loop import OpenLoop
from swarm.phases import Phases

_LOG = logging.getLogger(__name__)
_RATE_S = 0.1
_FAILED, _FINISH, _FINISHED = "edgewise_failed", "edgewise_finish", "edgewise_finished"
_WORKERS_END_S = 10.0
"""Beyond a user's patience, for workers to say that their engines have ended."""
_USERS, _RUN_TIME_S = "edgewise_users", "edgewise_run_time_s"
"""Options that the master adds for its workers, whom locust tells neither."""


class Session:
    """Of one locust process.

    Attributes:
        figures: exact ones of the test that runs or ran last.
    """

    def __init__(self, environment: Any) -> None:
        self.figures = Figures(sent_on=isinstance(environment.runner, WorkerRunner))
        self._environment = environment
        self._runner = environment.runner
        self._lanes: dict[str, Lane] = {}
        self._engines: dict[str, OpenLoop] = {}
        self._rater: gevent.Greenlet | None = None
        self._ending: gevent.Greenlet | None = None
        self._workers_left = 0
        self._locust_bucket = getattr(locust.stats, "bucket_response_time", None)
        self._is_master = isinstance(self._runner, MasterRunner)
        self._is_worker = isinstance(self._runner, WorkerRunner)
        self._listen()

    @property
    def options(self) -> Any:
        """Of the command line, or of the form where it has been sent."""
        return self._environment.parsed_options

    def lane_of(self, user: Any) -> Lane | None:
        """What a user does; None while no test runs that could."""
        return self._lanes.get(type(user).__name__)

    # --- listening ---

    def _listen(self) -> None:
        events = self._environment.events
        events.test_start.add_listener(self._test_start)
        events.test_stopping.add_listener(self._test_stopping)
        events.request.add_listener(self._request)
        events.reset_stats.add_listener(self._reset)
        events.spawning_complete.add_listener(self._spawned)
        events.quitting.add_listener(self._quitting)
        if self._is_worker:
            events.report_to_master.add_listener(self._report)
            self._runner.register_message(_FINISH, self._finish_for_master, concurrent=True)
        else:
            events.quit.add_listener(self._quit)
        if self._is_master:
            events.worker_report.add_listener(self._worker_report)
            self._runner.register_message(_FAILED, self._worker_failed)
            self._runner.register_message(_FINISHED, self._worker_finished)

    def _request(self, context: Any = None, response_time: Any = None, exception: Any = None, **said: Any) -> None:
        if context and "edgewise_engine" in context:
            row: Row = (context["edgewise_engine"], said["request_type"], context["edgewise_row"])
            self.figures.add(row, response_time, failed=bool(exception))

    def _reset(self, **_: Any) -> None:
        self.figures.clear()

    def _spawned(self, **_: Any) -> None:
        if self._environment.reset_stats:
            self.figures.clear()

    def _report(self, data: dict[str, Any], **_: Any) -> None:
        data["edgewise"] = self.figures.take()

    def _worker_report(self, data: dict[str, Any], **_: Any) -> None:
        if "edgewise" in data:
            self.figures.put(data["edgewise"])

    # --- the beginning of a test ---

    def _test_start(self, **_: Any) -> None:
        self.figures.clear()
        self._environment.process_exit_code = None
        self._ending = None
        if not self._is_worker:
            vars(self.options)[_USERS] = self.options.num_users or 1
            vars(self.options)[_RUN_TIME_S] = float(self.options.run_time or 0.0)
        if self._locust_bucket is not None:
            locust.stats.bucket_response_time = three_digits_ms if self.options.engine == OPEN else self._locust_bucket
        if self._is_master:
            return
        self._end_engines()
        self._lanes = {}
        try:
            self._lanes, phases = self._made_lanes()
        except EdgewiseError as error:
            self._fail(str(error))
            return
        if self.options.engine != "closed":
            for name, lane in self._lanes.items():
                self._engines[name] = self._started_engine(lane)
            self._rater = gevent.spawn(self._set_rates)
        phases.begin()

    def _made_lanes(self) -> tuple[dict[str, Lane], Phases]:
        said = self.options
        phases = Phases(
            said.engine,
            said.rate,
            getattr(said, _USERS, 1),
            getattr(said, _RUN_TIME_S, 0.0),
            now_s=time.monotonic,
            quiet=lambda: not any(lane.in_flight for lane in self._lanes.values()),
            patience_s=said.timeout_s,
        )
        lanes = {}
        for user_class in self._environment.user_classes:
            protocol = user_class.protocol
            target = target_of(self._environment.host or user_class.host, protocol, said.engine)
            asking = asking_for(
                protocol, target, said.model, images=Path(said.images), seed=said.seed, timeout_s=said.timeout_s
            )
            lanes[user_class.__name__] = Lane(protocol, target, asking, phases, said, worker=self._runner.worker_index)
        return lanes, phases

    def _started_engine(self, lane: Lane) -> OpenLoop:
        teller = BatchTeller(lane, self.figures, self._environment.events.request.fire, lambda: gevent.sleep(0))

        def tell(batch: Batch) -> None:
            teller.tell(batch)
            if batch.error:
                self._fail(batch.error)

        return OpenLoop(lane.setup(), tell)

    def _set_rates(self) -> None:
        while True:
            users = self._runner.user_classes_count
            for name, engine in self._engines.items():
                engine.set_rate(self._lanes[name].open_rate(users.get(name, 0)))
            gevent.sleep(_RATE_S)

    def _fail(self, text: str) -> None:
        """The test cannot go on: a failure in locust's tables, a line in the log, and its end."""
        _LOG.error("%s", text)
        self._environment.process_exit_code = 1
        for user_class in self._environment.user_classes:
            self._environment.events.request.fire(
                request_type="gRPC" if "grpc" in user_class.protocol else "REST",
                name=f"{user_class.protocol} {self.options.model}",
                response_time=None,
                response_length=0,
                exception=RequestError(text),
                context={},
            )
            break
        if self._is_worker:
            # The failure before the message: the master ends the test on it.
            self._send_stats()
            self._runner.send_message(_FAILED, {"text": text})
        else:
            self._end_soon()

    def _end_soon(self) -> None:
        """Not now: the greenlet that starts the test is one of those that its end kills."""
        if self._ending is None:
            self._ending = gevent.spawn(self._end_test)

    def _end_test(self) -> None:
        if self.options.headless:
            self._runner.quit()
        else:
            self._runner.stop()

    def _worker_failed(self, msg: Any, **_: Any) -> None:
        _LOG.error("worker %s: %s", msg.node_id, msg.data["text"])
        self._environment.process_exit_code = 1
        self._end_soon()

    # --- the end of a test ---

    def _test_stopping(self, **_: Any) -> None:
        if self._is_master:
            self._finish_workers()
        else:
            self._finish_engines()
        if not self._is_worker and not self.options.headless:
            gevent.spawn_later(1.0, self._say)

    def _finish_engines(self) -> None:
        """No new requests; what is on its way ends, and counts."""
        if self._rater is not None:
            self._rater.kill()
            self._rater = None
        gevent.joinall([gevent.spawn(engine.finish) for engine in self._engines.values()])
        self._engines = {}

    def _end_engines(self) -> None:
        if self._rater is not None:
            self._rater.kill()
            self._rater = None
        for engine in self._engines.values():
            engine.kill()
        self._engines = {}

    def _finish_workers(self) -> None:
        if self.options.engine == "closed":
            return
        self._workers_left = self._runner.worker_count
        self._runner.send_message(_FINISH)
        with gevent.Timeout(self.options.timeout_s + _WORKERS_END_S, exception=False):
            while self._workers_left > 0:
                gevent.sleep(0.05)

    def _finish_for_master(self, **_: Any) -> None:
        self._finish_engines()
        # What the engines said last has to be there before the master draws its tables.
        self._send_stats()
        self._runner.send_message(_FINISHED, {})

    def _send_stats(self) -> None:
        self._runner._send_stats()  # noqa: SLF001 - locust has no public way to report early

    def _worker_finished(self, **_: Any) -> None:
        self._workers_left -= 1

    def _quitting(self, **_: Any) -> None:
        if self._is_worker:
            # Before locust's own listener: the master takes no reports from a worker that has said that it quits.
            self._runner.stop()
            self._send_stats()
        elif not self._is_master:
            self._finish_engines()

    def _quit(self, **_: Any) -> None:
        if self.options.headless:
            self._say()
        self._write_files()

    def _table(self) -> list[comparison.Line]:
        return comparison.lines(self.figures, self._shown())

    def text(self) -> str:
        """The table of exact figures, for people."""
        return comparison.rendered(self._table(), self.figures)

    def _say(self) -> None:
        sys.stdout.write(f"\n{self.text()}\n")
        sys.stdout.flush()

    def _write_files(self) -> None:
        prefix = self.options.csv_prefix
        if not prefix:
            return
        try:
            comparison.write_csv(Path(f"{prefix}_engines.csv"), self._table())
            csv_files.write_last(self._environment, prefix)
        except OSError as error:
            _LOG.error("%s cannot be written: %s", error.filename, error.strerror)

    def _shown(self) -> dict[Row, tuple[float, float]]:
        """p50 and p99 of locust's own table."""
        entries = self._environment.stats.entries
        shown = {}
        for engine, kind, row in self.figures.rows:
            name = f"{row} ({engine})" if self.options.engine == "both" else row
            entry = entries.get((name, kind))
            if entry is not None:
                shown[engine, kind, row] = (
                    float(entry.get_response_time_percentile(0.5)),
                    float(entry.get_response_time_percentile(0.99)),
                )
        return shown


_sessions: list[Session] = []


def the_session() -> Session:
    """Of this process."""
    return _sessions[0]


def install() -> None:
    """Have locust know all this; once, however many locustfiles ask for it."""
    if getattr(install, "done", False):
        return
    install.done = True  # type: ignore[attr-defined]
    csv_files.install()
    locust.events.init_command_line_parser.add_listener(options.add_options)
    locust.events.init.add_listener(_begin)


def _begin(environment: Any, web_ui: Any, **_: Any) -> None:
    said = environment.parsed_options
    if not isinstance(environment.runner, WorkerRunner):
        if said.shape and said.num_users is None:
            said.num_users = options.DEFAULT_SHAPED_USERS
        complaint = options.complaint({**vars(said), "run_time": said.run_time or web_ui})
        if complaint:
            sys.stderr.write(f"locust: error: {complaint}\n")
            sys.exit(2)
        if not said.class_picker:
            _shape(environment, said.shape)
        if web_ui is not None:
            _watch_form(environment, web_ui)
    _sessions.append(Session(environment))
    # Timers count from when the loop last looked at the clock, which was before everything was imported: a run of three seconds
    # would last two.
    gevent.get_hub().loop.update_now()


def _shape(environment: Any, words: str) -> None:
    environment.shape_class = shape_of(words)
    if environment.shape_class is not None:
        environment.shape_class.runner = environment.runner


def _watch_form(environment: Any, web_ui: Any) -> None:
    """Hold the form's fields to what the command line's options are held to, let it choose the shape, and show exact figures."""
    from flask import Response, jsonify, request  # noqa: PLC0415 - workers have no web page

    @web_ui.app.before_request
    def check() -> Any:
        if request.method != "POST" or not request.path.endswith("/swarm"):
            return None
        said = environment.parsed_options
        form = {**vars(said), **request.form.to_dict()}
        picked = form.get("shape_class", "Default") != "Default"
        complaint = options.complaint({**form, "shape": form["shape"] or ("constant" if picked else "")})
        if complaint:
            return jsonify({"success": False, "message": complaint, "host": environment.host})
        if not said.class_picker and not environment.runner.shape_greenlet:
            _shape(environment, form["shape"])
        return None

    @web_ui.app.route(f"{environment.parsed_options.web_base_path or ''}/engines")
    @web_ui.auth_required_if_enabled
    def engines() -> Any:
        return Response(the_session().text(), mimetype="text/plain")
