"""The tables. Times are seconds since the epoch; of a secret its SHA-256 alone is here.

What is here and what the migrations make of an empty database is the same; a test compares them.
"""

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

NAME_LENGTH: Final = 256
# SQLite numbers rows by itself in a column of this type alone.
_NUMBER: Final = BigInteger().with_variant(Integer, "sqlite")

METADATA: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _name(label: str, *more: ForeignKey, key: bool = False, optional: bool = False) -> Column[str]:
    return Column(label, String(NAME_LENGTH), *more, primary_key=key, nullable=optional)


def _digest(label: str, *, key: bool = False, unique: bool = False, optional: bool = False) -> Column[str]:
    return Column(label, String(64), primary_key=key, unique=unique, nullable=optional)


def _time(label: str, *, optional: bool = False) -> Column[float]:
    return Column(label, Double, nullable=optional)


HUB: Final = Table(
    "hub",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    # Greater with each process that opens the database: the one before it can write no more.
    Column("epoch", BigInteger, nullable=False),
)

SITES: Final = Table(
    "sites",
    METADATA,
    _name("name", key=True),
    _name("tier"),
    Column("labels", JSON, nullable=False),
    _digest("public_key"),
    _digest("token_sha256", unique=True, optional=True),
    _time("enrolled_s"),
    _time("retired_s", optional=True),
    Column("sequence", BigInteger, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("following", BigInteger, nullable=False),
    _time("heard_s", optional=True),
    _time("reported_s", optional=True),
    _time("clock_ahead_s", optional=True),
    Column("trusted", JSON, nullable=False),
    Column("inventory", JSON, nullable=False),
)

ENROLLMENTS: Final = Table(
    "enrollments",
    METADATA,
    _digest("token_sha256", key=True),
    _name("site"),
    _name("tier"),
    Column("labels", JSON, nullable=False),
    _time("created_s"),
    _name("created_by"),
    _time("expires_s"),
    _time("used_s", optional=True),
)

TOKENS: Final = Table(
    "tokens",
    METADATA,
    _name("name", key=True),
    _digest("token_sha256", unique=True),
    _name("role"),
    _time("created_s"),
    _name("created_by"),
    _time("expires_s", optional=True),
)

RELEASES: Final = Table(
    "releases",
    METADATA,
    _name("model", key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    _digest("manifest_sha256"),
    Column("manifest", LargeBinary, nullable=False),
    Column("created", Text, nullable=False),
    Column("notes", Text, nullable=False),
    Column("lineage", JSON, nullable=False),
    Column("sizes_bytes", JSON, nullable=False),
    _time("added_s"),
    _name("added_by"),
)

ROLLOUTS: Final = Table(
    "rollouts",
    METADATA,
    _name("name", key=True),
    _name("model"),
    Column("version", BigInteger, nullable=False),
    _digest("manifest_sha256"),
    Column("specification", JSON, nullable=False),
    Column("text", Text, nullable=False),
    _name("form"),
    _time("created_s"),
    _name("created_by"),
    _name("state"),
    Column("why", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    _time("changed_s"),
    # Some site still answers to it, so it is in memory.
    Column("live", Boolean, nullable=False, index=True),
)

ROLLOUT_WAVES: Final = Table(
    "rollout_waves",
    METADATA,
    _name("rollout", ForeignKey("rollouts.name"), key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    _name("phase"),
    _time("since_s"),
    _name("verdict"),
    Column("judged", Boolean, nullable=False),
    Column("promoted", Boolean, nullable=False),
)

ROLLOUT_SITES: Final = Table(
    "rollout_sites",
    METADATA,
    _name("rollout", ForeignKey("rollouts.name"), key=True),
    _name("site", ForeignKey("sites.name"), key=True),
    # The order in which the sites of a rollout are told.
    Column("place", Integer, nullable=False),
    Column("wave", Integer, nullable=False),
    _name("state"),
    _name("want"),
    _name("acting"),
    _name("was", optional=True),
    Column("switched", Boolean, nullable=False),
    Column("waiting", Boolean, nullable=False),
    Column("why", Text, nullable=False),
    Column("findings", JSON, nullable=False),
    Column("stage", Integer, nullable=False),
    Column("bytes_done", BigInteger, nullable=False),
    Column("bytes_total", BigInteger, nullable=False),
)

ORDERS: Final = Table(
    "orders",
    METADATA,
    _name("site", ForeignKey("sites.name"), key=True),
    _name("model", key=True),
    _name("rollout", ForeignKey("rollouts.name")),
    Column("version", BigInteger, nullable=False),
    _name("want"),
)

HISTORY: Final = Table(
    "history",
    METADATA,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    _name("rollout", ForeignKey("rollouts.name")),
    _time("at_s"),
    _name("kind"),
    _name("subject"),
    _name("before"),
    _name("after"),
    Column("why", Text, nullable=False),
    Index(None, "rollout", "number"),
)

AUDIT: Final = Table(
    "audit",
    METADATA,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    _time("at_s"),
    _name("actor"),
    _name("address"),
    _name("action"),
    _name("subject"),
    Column("details", JSON, nullable=False),
)

SAMPLES: Final = Table(
    "samples",
    METADATA,
    _name("id", key=True),
    _name("site"),
    _name("source"),
    _time("captured_s"),
    _time("received_s"),
    _name("model"),
    Column("version", BigInteger, nullable=False),
    # Of the release's manifest; "" where it is not known.
    Column("model_digest", String(64), nullable=False),
    _name("answered_by"),
    _name("tier"),
    # ",low-confidence,sampled,": each between commas, so that every database finds one.
    _name("reasons"),
    Column("priority", Integer, nullable=False),
    Column("confidence", Double, nullable=True),
    _name("request_id"),
    _name("prediction"),
    Column("scores", JSON, nullable=False),
    _name("kind"),
    _name("content_type"),
    _digest("blob_sha256"),
    Column("size_bytes", BigInteger, nullable=False),
    Column("width", Integer, nullable=True),
    Column("height", Integer, nullable=True),
    # "" without one.
    _name("label"),
    _name("labelled_by"),
    _time("labelled_at_s", optional=True),
    Column("synthetic", Boolean, nullable=False),
    # What is not asked for: how the request was written, and who answered otherwise.
    Column("details", JSON, nullable=False),
    Index(None, "captured_s", "id"),
    Index(None, "site", "captured_s", "id"),
    Index(None, "source", "captured_s", "id"),
    Index(None, "model", "captured_s", "id"),
    Index(None, "label", "captured_s"),
    # For those whose time is over.
    Index(None, "label", "received_s"),
    Index(None, "labelled_at_s"),
    Index(None, "blob_sha256"),
)

SAMPLE_LABELS: Final = Table(
    "sample_labels",
    METADATA,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    _name("sample", ForeignKey("samples.id")),
    _time("at_s"),
    _name("actor"),
    _name("before"),
    _name("after"),
    Index(None, "sample", "number"),
)

SAMPLE_SEGMENTS: Final = Table(
    "sample_segments",
    METADATA,
    _name("site", key=True),
    _name("name", key=True),
    # A site that was made anew may use a name again.
    _digest("sha256", key=True),
    Column("samples", Integer, nullable=False),
    Column("doubled", Integer, nullable=False),
    Column("refused", Integer, nullable=False),
    _time("done_s"),
    Index(None, "done_s"),
)

# Of samples that went: the blobs go after them, unless something else names them.
SAMPLE_BLOBS_LEAVING: Final = Table(
    "sample_blobs_leaving",
    METADATA,
    _digest("sha256", key=True),
    _time("since_s"),
    Index(None, "since_s"),
)
