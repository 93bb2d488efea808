"""What is sent to the hub as JSON, and small answers: read strictly, described for OpenAPI."""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from edgewise.hub.control.actors import Role
from edgewise.protocols.segment_faults import SegmentFault

Labels = Annotated[
    dict[Annotated[str, Field(max_length=63)], Annotated[str, Field(max_length=63)]],
    Field(max_length=64, description="Names and values of your choice, for selectors.", examples=[{"region": "eu"}]),
]
_LONGEST_TEXT: Final = 512 * 1024


class Asked(BaseModel):
    """A body: fields that are not known are errors, since they may be known ones that were misspelt."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class EnrollmentAsked(Asked):
    """Let a site join, once."""

    site: str = Field(description="Its name.", max_length=63, examples=["factory-7"])
    tier: Literal["cloud", "edge"] = Field("edge", description="Which variant of a release runs there.")
    labels: Labels = Field(default_factory=dict)
    expires_s: float = Field(86400.0, description="Seconds for which the enrolment can be used.", gt=0, le=366 * 86400)


class EnrollmentMade(BaseModel):
    """What a person takes to the site."""

    enrollment: str = Field(
        description="One word, for `edgewise agent enroll`: the hub's address, the site's name, a token for one time and the digest of "
        "the first root of trust.",
        examples=["ew1.eyJodWIiOi..."],
    )


class Enrolling(Asked):
    """A site joins."""

    token: str = Field(description="Of the enrolment.", max_length=256)
    public_key: str = Field(description="The site's own, Ed25519, 64 hexadecimal digits.", max_length=64)
    tier: Literal["cloud", "edge", ""] = Field(
        "", description="As the site sees it; empty for what the enrolment says."
    )
    labels: Labels = Field(default_factory=dict)


class Enrolled(BaseModel):
    """A site has joined."""

    site: str = Field(description="Its name.", examples=["factory-7"])
    site_token: str = Field(description="Opens the site's own paths. It is nowhere else.", examples=["ews_..."])


class ReportTaken(BaseModel):
    """A report was taken, now or before."""

    sequence: int = Field(description="The greatest number that any report of the site had.", examples=[17])


class LabelsChanged(Asked):
    """Set labels, take labels away."""

    labels: Labels = Field(default_factory=dict)
    remove: list[Annotated[str, Field(max_length=63)]] = Field(
        default_factory=list, description="Names of labels that go.", max_length=64, examples=[["gpu"]]
    )


class RolloutAsked(Asked):
    """A specification."""

    specification: str = Field(
        description="See docs/rollouts.md.",
        max_length=_LONGEST_TEXT,
        examples=["model: pets\nversion: 2\nwaves: [{name: all}]\n"],
    )
    format: Literal["toml", "yaml"] = Field("toml", description="In which it is written.")


class RolloutMade(RolloutAsked):
    """A rollout to be made."""

    name: str | None = Field(None, description="MODEL-VERSION-xxxx when there is none.", examples=["pets-2-nightly"])
    start: bool = Field(False, description="Start it at once.")


class RolloutNamed(BaseModel):
    """A rollout was made."""

    name: str = Field(description="Of the rollout.", examples=["pets-2-k3f9"])


class Reason(Asked):
    """Why something is asked for."""

    why: str = Field("", description="For the history and the audit log.", max_length=1000, examples=["p99 looks odd"])


class TokenAsked(Asked):
    """A token for a person or a program."""

    name: str = Field(description="Whose it is; the audit log says it.", max_length=100, examples=["olga"])
    role: Role = Field(
        description="viewer looks; operator releases, labels and rolls out; admin lets sites and people in.",
        strict=False,
    )
    expires_s: float | None = Field(None, description="Seconds after which it opens nothing; null for never.", gt=0)


class TokenMade(BaseModel):
    """A token was made."""

    name: str = Field(description="Whose it is.", examples=["olga"])
    token: str = Field(description="The secret. It is nowhere else.", examples=["ewt_..."])


class Done(BaseModel):
    """What was asked for is done."""

    done: Literal[True] = True


class TargetTaken(BaseModel):
    """The content of a target file is here."""

    sha256: str = Field(description="Of the content.")


class BundleAsked(Asked):
    """Signatures for a bundle, which is carried to a site without a link."""

    site: str | None = Field(
        None, description="Whose desired state is signed as well; null for none.", max_length=63, examples=["factory-7"]
    )
    valid_for_s: float = Field(
        description="Seconds for which they hold: as long as root and targets at most.", ge=60, le=366 * 86400
    )


class PruneAsked(Asked):
    """Remove blobs that no release and no sample names."""

    unwanted_for_s: float = Field(
        86400.0,
        description="Seconds for which nobody has sent them, nor asked for them to bring a release.",
        ge=3600,
        le=366 * 86400,
    )
    after: str = Field("", description="Those alone whose names are greater.", max_length=64)
    dry_run: bool = Field(False, description="Say which, and remove none.")


class LabelAsked(Asked):
    """What a sample shows."""

    label: str = Field(description="Empty takes it back.", max_length=64, examples=["dog"])
    seen: str | None = Field(
        None, description="The label that it is thought to have: where it has another one, 409.", max_length=64
    )


class LabelsAsked(Asked):
    """What samples show."""

    labels: dict[
        Annotated[str, Field(pattern=r"^[0-9a-f]{32}(-[0-9]{1,4})?$")], Annotated[str, Field(max_length=64)]
    ] = Field(
        description="Labels by the names of samples; an empty one takes a label back.",
        max_length=1000,
        examples=[{}],
    )
    seen: dict[Annotated[str, Field(pattern=r"^[0-9a-f]{32}(-[0-9]{1,4})?$")], Annotated[str, Field(max_length=64)]] = (
        Field(
            default_factory=dict,
            description="The labels that they are thought to have, empty for none: those that have neither that nor the new one are left as they are.",
            max_length=1000,
            examples=[{}],
        )
    )


class LabelLeft(BaseModel):
    """A sample that was left as it is, since its label is not the one that was seen."""

    id: str = Field(description="Its name.")
    label: str = Field(description="That it has; empty for none.", examples=["dog"])
    labelled_by: str = Field(description="Who gave it; empty where it has none.", examples=["olga"])
    labelled_at: str = Field(description="When, RFC 3339; empty where it has none.")


class LabelsTaken(BaseModel):
    """Samples were labelled."""

    changed: int = Field(description="How many have another label now.", examples=[2])
    kept: list[LabelLeft] = Field(description="Those that were left as they are, by what `seen` said.", examples=[[]])


class SegmentState(BaseModel):
    """How far a segment has come."""

    offset: int = Field(description="Where the next piece begins.", examples=[1048576])
    done: bool = Field(description="Its samples are taken in, and last.")
    samples: int = Field(0, description="That were new.")
    doubled: int = Field(0, description="That were here already.")
    refused: int = Field(0, description="That were none, or too many.")


class MetadataTaken(BaseModel):
    """Metadata is in force."""

    versions: dict[str, int] = Field(
        description="Of the metadata in force, by role.", examples=[{"root": 1, "targets": 7}]
    )
    releases: list[str] = Field(default_factory=list, description="Releases that are new.", examples=[["pets/2"]])
    remark: str = Field("", description="What has to be done next; empty for nothing.")


class Refusal(BaseModel):
    """Anything but success."""

    error: str = Field(description="What was wrong and what would be right.", examples=["there is no site 'factory-9'"])
    code: str = Field(description="One of the canonical codes.", examples=["NOT_FOUND"])


class SegmentRefusal(Refusal):
    """A segment is not taken."""

    reason: SegmentFault | None = Field(
        None, description="What is wrong with the segment itself, so that it is in vain to send it again."
    )


class OffsetRefusal(Refusal):
    """Another piece is wanted; or none, as long as it is so."""

    offset: int | None = Field(None, description="Where the next piece has to begin.", examples=[1048576])
    reason: str | None = Field(None, description="`SEGMENT_NEWER`: a newer gateway wrote it than this hub can read.")
