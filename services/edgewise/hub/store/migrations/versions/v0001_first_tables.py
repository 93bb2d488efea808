"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """From nothing."""
    op.create_table(
        "audit",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at_s", sa.Double(), nullable=False),
        sa.Column("actor", sa.String(length=256), nullable=False),
        sa.Column("address", sa.String(length=256), nullable=False),
        sa.Column("action", sa.String(length=256), nullable=False),
        sa.Column("subject", sa.String(length=256), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audit")),
    )
    op.create_table(
        "enrollments",
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("site", sa.String(length=256), nullable=False),
        sa.Column("tier", sa.String(length=256), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("created_s", sa.Double(), nullable=False),
        sa.Column("created_by", sa.String(length=256), nullable=False),
        sa.Column("expires_s", sa.Double(), nullable=False),
        sa.Column("used_s", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("token_sha256", name=op.f("pk_enrollments")),
    )
    op.create_table(
        "hub",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hub")),
    )
    op.create_table(
        "releases",
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("manifest_sha256", sa.String(length=64), nullable=False),
        sa.Column("manifest", sa.LargeBinary(), nullable=False),
        sa.Column("created", sa.Text(), nullable=False),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.Column("lineage", sa.JSON(), nullable=False),
        sa.Column("sizes_bytes", sa.JSON(), nullable=False),
        sa.Column("added_s", sa.Double(), nullable=False),
        sa.Column("added_by", sa.String(length=256), nullable=False),
        sa.PrimaryKeyConstraint("model", "version", name=op.f("pk_releases")),
    )
    op.create_table(
        "rollouts",
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("manifest_sha256", sa.String(length=64), nullable=False),
        sa.Column("specification", sa.JSON(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("form", sa.String(length=256), nullable=False),
        sa.Column("created_s", sa.Double(), nullable=False),
        sa.Column("created_by", sa.String(length=256), nullable=False),
        sa.Column("state", sa.String(length=256), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("changed_s", sa.Double(), nullable=False),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_rollouts")),
    )
    op.create_index(op.f("ix_rollouts_live"), "rollouts", ["live"], unique=False)
    op.create_table(
        "sites",
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("tier", sa.String(length=256), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("public_key", sa.String(length=64), nullable=False),
        sa.Column("token_sha256", sa.String(length=64), nullable=True),
        sa.Column("enrolled_s", sa.Double(), nullable=False),
        sa.Column("retired_s", sa.Double(), nullable=True),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("following", sa.BigInteger(), nullable=False),
        sa.Column("heard_s", sa.Double(), nullable=True),
        sa.Column("reported_s", sa.Double(), nullable=True),
        sa.Column("clock_ahead_s", sa.Double(), nullable=True),
        sa.Column("trusted", sa.JSON(), nullable=False),
        sa.Column("inventory", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_sites")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_sites_token_sha256")),
    )
    op.create_table(
        "tokens",
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=256), nullable=False),
        sa.Column("created_s", sa.Double(), nullable=False),
        sa.Column("created_by", sa.String(length=256), nullable=False),
        sa.Column("expires_s", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_tokens")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_tokens_token_sha256")),
    )
    op.create_table(
        "history",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("rollout", sa.String(length=256), nullable=False),
        sa.Column("at_s", sa.Double(), nullable=False),
        sa.Column("kind", sa.String(length=256), nullable=False),
        sa.Column("subject", sa.String(length=256), nullable=False),
        sa.Column("before", sa.String(length=256), nullable=False),
        sa.Column("after", sa.String(length=256), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["rollout"], ["rollouts.name"], name=op.f("fk_history_rollout")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_history")),
    )
    op.create_index(op.f("ix_history_rollout_number"), "history", ["rollout", "number"], unique=False)
    op.create_table(
        "orders",
        sa.Column("site", sa.String(length=256), nullable=False),
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("rollout", sa.String(length=256), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("want", sa.String(length=256), nullable=False),
        sa.ForeignKeyConstraint(["rollout"], ["rollouts.name"], name=op.f("fk_orders_rollout")),
        sa.ForeignKeyConstraint(["site"], ["sites.name"], name=op.f("fk_orders_site")),
        sa.PrimaryKeyConstraint("site", "model", name=op.f("pk_orders")),
    )
    op.create_table(
        "rollout_sites",
        sa.Column("rollout", sa.String(length=256), nullable=False),
        sa.Column("site", sa.String(length=256), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("wave", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=256), nullable=False),
        sa.Column("want", sa.String(length=256), nullable=False),
        sa.Column("acting", sa.String(length=256), nullable=False),
        sa.Column("was", sa.String(length=256), nullable=True),
        sa.Column("switched", sa.Boolean(), nullable=False),
        sa.Column("waiting", sa.Boolean(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("findings", sa.JSON(), nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("bytes_done", sa.BigInteger(), nullable=False),
        sa.Column("bytes_total", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["rollout"], ["rollouts.name"], name=op.f("fk_rollout_sites_rollout")),
        sa.ForeignKeyConstraint(["site"], ["sites.name"], name=op.f("fk_rollout_sites_site")),
        sa.PrimaryKeyConstraint("rollout", "site", name=op.f("pk_rollout_sites")),
    )
    op.create_table(
        "rollout_waves",
        sa.Column("rollout", sa.String(length=256), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("phase", sa.String(length=256), nullable=False),
        sa.Column("since_s", sa.Double(), nullable=False),
        sa.Column("verdict", sa.String(length=256), nullable=False),
        sa.Column("judged", sa.Boolean(), nullable=False),
        sa.Column("promoted", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["rollout"], ["rollouts.name"], name=op.f("fk_rollout_waves_rollout")),
        sa.PrimaryKeyConstraint("rollout", "number", name=op.f("pk_rollout_waves")),
    )

    op.execute(sa.text("INSERT INTO hub (id, epoch) VALUES (1, 0)"))
