"""How each state looks: a sign, a tone and what it means. A state is told by its word and its sign; the tone is decoration."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from edgewise.core.rollout.events import Verb, Want, WavePhase
from edgewise.core.rollout.gates import Verdict
from edgewise.core.rollout.rollout_state import RolloutState
from edgewise.core.rollout.site_state import SiteState


class Kind(StrEnum):
    """Of what a state is."""

    SITE = "site"
    ROLLOUT = "rollout"
    WAVE = "wave"
    VERDICT = "verdict"
    LINK = "link"


class WaveEnd(StrEnum):
    """How far a wave came that goes no further."""

    NOT_PASSED = "did not pass"
    NOT_OPENED = "did not open"


class LinkState(StrEnum):
    """Whether a site is heard of, in the words of `edgewise sites`."""

    ONLINE = "online"
    OFFLINE = "offline"
    NEVER = "never seen"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Sign:
    """How a state is shown.

    Attributes:
        mark: one character.
        tone: a class of the style sheet.
        meaning: a sentence for whoever does not know the word.
    """

    mark: str
    tone: str
    meaning: str


_SIGNS: Final[Mapping[tuple[str, str], Sign]] = MappingProxyType(
    {
        (Kind.SITE, SiteState.PENDING): Sign("○", "quiet", "has not been heard of in this rollout"),
        (Kind.SITE, SiteState.DOWNLOADING): Sign("↓", "moving", "fetches what it does not have"),
        (Kind.SITE, SiteState.STAGED): Sign("▣", "ready", "has all files, checked; nothing has switched"),
        (Kind.SITE, SiteState.ACTIVATING): Sign(
            "↻", "trying", "loads the new version beside the old one, which answers"
        ),
        (Kind.SITE, SiteState.VERIFYING): Sign(
            "◐", "trying", "the new version answers a share of the requests, or all, and is compared"
        ),
        (Kind.SITE, SiteState.ACTIVE): Sign("●", "good", "the new version answers everything"),
        (Kind.SITE, SiteState.ROLLED_BACK): Sign("↶", "back", "the previous version answers everything"),
        (Kind.SITE, SiteState.FAILED): Sign("✕", "bad", "cannot go on by itself; what ran before still runs"),
        (Kind.SITE, SiteState.UNREACHABLE): Sign(
            "?", "lost", "silent for longer than the rollout allows, or since it was enrolled"
        ),
        (Kind.SITE, SiteState.SUPERSEDED): Sign("»", "quiet", "another rollout has taken the site over"),
        (Kind.ROLLOUT, RolloutState.PLANNED): Sign("○", "quiet", "nothing has moved"),
        (Kind.ROLLOUT, RolloutState.PROGRESSING): Sign("▸", "moving", "waves open one after another"),
        (Kind.ROLLOUT, RolloutState.PAUSED): Sign(
            "‖", "lost", "no further site is told to switch; those that did stay"
        ),
        (Kind.ROLLOUT, RolloutState.COMPLETED): Sign(
            "●", "good", "every wave has passed, and late sites catch up; or another rollout took its sites over"
        ),
        (Kind.ROLLOUT, RolloutState.ABORTING): Sign("↶", "back", "every site that switched is told to go back"),
        (Kind.ROLLOUT, RolloutState.ROLLED_BACK): Sign("↶", "back", "all sites that had switched are back"),
        (Kind.ROLLOUT, RolloutState.FAILED): Sign("✕", "bad", "some sites could not go back and need a person"),
        (Kind.WAVE, WavePhase.WAITING): Sign("○", "quiet", "its turn has not come"),
        (Kind.WAVE, WavePhase.OPEN): Sign("▸", "moving", "its sites switch"),
        (Kind.WAVE, WavePhase.PASSED): Sign("✓", "good", "its sites have switched, and the gates held"),
        (Kind.WAVE, WaveEnd.NOT_PASSED): Sign("↶", "back", "the rollout ended, or goes back, before it had passed"),
        (Kind.WAVE, WaveEnd.NOT_OPENED): Sign(
            "○", "quiet", "the rollout ended, or goes back, before its turn had come"
        ),
        (Kind.VERDICT, Verdict.PASS): Sign("✓", "good", "proven to be good enough"),
        (Kind.VERDICT, Verdict.FAIL): Sign("✕", "bad", "proven to be worse than it may be"),
        (Kind.VERDICT, Verdict.INCONCLUSIVE): Sign("≈", "quiet", "not proven either way so far"),
        (Kind.LINK, LinkState.ONLINE): Sign("●", "good", "asks the hub regularly"),
        (Kind.LINK, LinkState.OFFLINE): Sign("✕", "bad", "has not been heard of for a while"),
        (Kind.LINK, LinkState.NEVER): Sign("○", "quiet", "is enrolled; its agent has not asked yet"),
        (Kind.LINK, LinkState.RETIRED): Sign("»", "quiet", "is gone for good"),
    }
)
"""By kind as well: a rollout and a site that have Failed are two things, and their words are equal."""


def sign(kind: str, state: str) -> Sign:
    """How a state is shown."""
    return _SIGNS[kind, state]


WANT_WORDS: Final = MappingProxyType(
    {
        Want.NOTHING: "",
        Want.STAGE: "told to fetch, and to wait",
        Want.RUN: "told to switch",
        Want.GRANTED: "told to switch",
        Want.BACK: "told to go back",
    }
)
"""What a site is told about a release; "" when it is told nothing."""


@dataclass(frozen=True, slots=True)
class VerbWords:
    """How a page speaks of a verb.

    Attributes:
        label: of its button.
        done: after the fact: "pets-2-k3f9 was paused."
        follows: sentences about what will happen.
        tone: a class of the style sheet for its button.
    """

    label: str
    done: str
    follows: tuple[str, ...]
    tone: str = ""


VERB_WORDS: Final = MappingProxyType(
    {
        Verb.START: VerbWords(
            "Start",
            "was started",
            (
                "Sites are told to fetch the release, and the first wave opens.",
                "If another rollout of the same model is under way, its sites that are in this one are taken over.",
            ),
            "primary",
        ),
        Verb.PAUSE: VerbWords(
            "Pause",
            "was paused",
            (
                "No further site is told to switch. Sites may go on fetching files.",
                "Sites that have switched stay, and still go back by themselves if a gate fails there.",
            ),
        ),
        Verb.RESUME: VerbWords(
            "Resume",
            "goes on",
            (
                "The rollout goes on where it is, and asks the same question again.",
                "If there is still too little data when its patience is over, it pauses once more.",
            ),
            "primary",
        ),
        Verb.PROMOTE: VerbWords(
            "Promote",
            "was promoted",
            (
                "You take the verdict on this wave upon yourself: it passes without proof, and its error budget no longer counts.",
                "Sites that wait for evidence switch all requests to the new version; one where a gate fails still goes back.",
            ),
            "caution",
        ),
        Verb.ABORT: VerbWords(
            "Abort",
            "is being aborted",
            (
                "Every site that was told to run the release goes back to the version it ran before.",
                "The rollout cannot be resumed; a new one can be started.",
            ),
            "danger",
        ),
        Verb.UNDO: VerbWords(
            "Undo",
            "is being undone",
            (
                "Every site goes back to the version it ran before this rollout, where that version is still allowed.",
                "This cannot be taken back; a new rollout can be started.",
            ),
            "danger",
        ),
    }
)
"""Of every verb."""
