"""Makes the site match what it is told: goes round all models, and has for each the rollout followed whose turn it is."""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Final

from edgewise.agent.site.board import Board, Shown, Situation
from edgewise.agent.site.follower import Follower
from edgewise.agent.site.journal import Entry, Journal
from edgewise.agent.site.port import Examiner, SiteActuator, Staging, View
from edgewise.core.errors import EdgewiseError
from edgewise.core.rollout.events import Want
from edgewise.core.rollout.orders import Order
from edgewise.core.rollout.reports import Progress
from edgewise.core.rollout.site_state import AGENT_STATES, SiteState
from edgewise.net.sd_notify import notifier

STEPS_AT_ONCE: Final = 20
QUICK_S: Final = 0.05
LOOK_S: Final = 0.25
IDLE_S: Final = 1.0
STIRRED_S: Final = 5.0
"""Looks are quick for so long after something moved; what takes longer is not made quicker by looking."""
_MOVING: Final = frozenset({SiteState.PENDING, SiteState.DOWNLOADING, SiteState.STAGED, SiteState.VERIFYING})
_log = logging.getLogger(__name__)


class Acting:
    """The loop.

    Args:
        models: of which the site serves something, asked at each round.
        examiner: see `Follower`.
        now_s: a monotonic clock.
    """

    def __init__(
        self,
        board: Board,
        journal: Journal,
        actuator: SiteActuator,
        staging: Staging,
        *,
        models: Callable[[], Iterable[str]],
        examiner: Examiner | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._board = board
        self._journal = journal
        self._actuator = actuator
        self._staging = staging
        self._models = models
        self._examiner = examiner
        self._now_s = now_s
        self._followers = {entry.order.rollout: self._follower(entry) for entry in journal.entries()}
        self._troubles: dict[str, str] = {}
        self._views: dict[str, View] = {}
        self._stirred_s: dict[str, float] = {}

    def run(self) -> None:
        """Until the board is stopped."""
        while not self._board.stopped:
            delay_s = IDLE_S
            try:
                delay_s = self.round()
            except Exception:  # noqa: BLE001  (what runs is looked after whatever happens)
                _log.exception("a round failed")
            notifier().beat()
            self._board.wait_to_act(delay_s)

    def round(self) -> float:
        """Look after every model once, and show how far each is.

        Returns: when to look again, in seconds from now.
        """
        situation = self._board.situation()
        orders = {order.model: order for order in situation.orders}
        known = {follower.entry.order.model for follower in self._followers.values()}
        progress: list[Progress] = []
        delay_s = IDLE_S
        for model in sorted({*orders, *known, *self._models()}):
            try:
                delay_s = min(delay_s, self._look_after(model, orders.get(model), situation))
                self._troubles.pop(model, None)
            except EdgewiseError as error:
                delay_s = min(delay_s, LOOK_S)
                self._note_trouble(model, error.message)
            except Exception:  # noqa: BLE001  (the other models are looked after whatever happens)
                _log.exception("%s could not be looked after", model)
                self._note_trouble(model, "a fault of the agent, whose log says more")
            progress.extend(self._progress(model))
        views = self._views
        self._board.show(
            Shown(
                progress=tuple(progress),
                loaded={model: tuple(sorted(view.loaded)) for model, view in views.items() if view.loaded},
                serving={model: view.serving for model, view in views.items() if view.serving},
            )
        )
        return delay_s

    def _look_after(self, model: str, order: Order | None, situation: Situation) -> float:
        """One model.

        Raises: EdgewiseError: it cannot be seen or changed at the moment.
        """
        for _ in range(STEPS_AT_ONCE):
            found = self._in_turn(model, order)
            if found is None:
                self._views[model] = self._actuator.look(model)
                return IDLE_S
            follower, overtaken = found
            changed = follower.step(situation, overtaken=overtaken)
            self._note(model, follower, changed=changed)
            if not changed:
                break
        return self._delay_s(follower)

    def _note(self, model: str, follower: Follower, *, changed: bool) -> None:
        """Remember what was seen, and when it was last something else."""
        view = follower.around.view if follower.around is not None else View()
        if changed or view != self._views.get(model):
            self._stirred_s[model] = self._now_s()
        self._views[model] = view

    def _delay_s(self, follower: Follower) -> float:
        model, state = follower.entry.order.model, follower.entry.record.state
        if state == SiteState.ROLLED_BACK:
            return IDLE_S
        moving = follower.is_quick or not self._views[model].settled
        if moving and self._now_s() - self._stirred_s[model] < STIRRED_S:
            return QUICK_S
        return LOOK_S if moving or state in _MOVING else IDLE_S

    def _in_turn(self, model: str, order: Order | None) -> tuple[Follower, bool] | None:
        """The rollout to be followed now, and whether it only goes back to make room for another one; None when there is none."""
        followers = [one for one in self._followers.values() if one.entry.order.model == model]
        if order is None or order.want == Want.NOTHING:
            # What was told last goes on: a hub that says nothing has not taken it back.
            return (followers[-1], False) if followers else None
        for follower in followers:
            if follower.entry.order.rollout != order.rollout and not follower.entry.has_finished:
                return follower, True
        present = self._followers.get(order.rollout)
        if present is None:
            present = self._began(order)
        elif present.entry.order != order:
            present.told(order)
        for follower in followers:
            if follower is not present:
                self._forget(follower)
        entry = present.entry
        if entry.record.state == SiteState.ACTIVE and order.want != Want.BACK and not entry.is_running_already:
            self._staging.keep_only(model, frozenset({order.version, entry.previous}))
        return present, False

    def _began(self, order: Order) -> Follower:
        """Write down that a rollout begins: what answers now is what it goes back to."""
        previous = self._actuator.look(order.model).meant
        entry = Entry(order, previous)
        self._journal.write(entry)
        follower = self._followers[order.rollout] = self._follower(entry)
        _log.info("%s: %s/%d, after version %d", order.rollout, order.model, order.version, previous)
        return follower

    def _forget(self, follower: Follower) -> None:
        rollout = follower.entry.order.rollout
        self._journal.forget(rollout)
        del self._followers[rollout]

    def _follower(self, entry: Entry) -> Follower:
        return Follower(entry, self._journal, self._actuator, self._staging, examiner=self._examiner, now_s=self._now_s)

    def _progress(self, model: str) -> Iterable[Progress]:
        for follower in self._followers.values():
            entry = follower.entry
            if entry.order.model == model and entry.record.state in AGENT_STATES:
                yield follower.progress(self._troubles.get(model, ""))

    def _note_trouble(self, model: str, message: str) -> None:
        if self._troubles.get(model) != message:
            _log.warning("%s: %s", model, message)
        self._troubles[model] = message
