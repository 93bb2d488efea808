"""Samples of sites, and their labels."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """From the first tables."""
    op.create_table(
        "samples",
        sa.Column("id", sa.String(length=256), nullable=False),
        sa.Column("site", sa.String(length=256), nullable=False),
        sa.Column("source", sa.String(length=256), nullable=False),
        sa.Column("captured_s", sa.Double(), nullable=False),
        sa.Column("received_s", sa.Double(), nullable=False),
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("model_digest", sa.String(length=64), nullable=False),
        sa.Column("answered_by", sa.String(length=256), nullable=False),
        sa.Column("tier", sa.String(length=256), nullable=False),
        sa.Column("reasons", sa.String(length=256), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("request_id", sa.String(length=256), nullable=False),
        sa.Column("prediction", sa.String(length=256), nullable=False),
        sa.Column("scores", sa.JSON(), nullable=False),
        sa.Column("kind", sa.String(length=256), nullable=False),
        sa.Column("content_type", sa.String(length=256), nullable=False),
        sa.Column("blob_sha256", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("label", sa.String(length=256), nullable=False),
        sa.Column("labelled_by", sa.String(length=256), nullable=False),
        sa.Column("labelled_at_s", sa.Double(), nullable=True),
        sa.Column("synthetic", sa.Boolean(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_samples")),
    )
    op.create_index(op.f("ix_samples_captured_s_id"), "samples", ["captured_s", "id"], unique=False)
    op.create_index(op.f("ix_samples_site_captured_s_id"), "samples", ["site", "captured_s", "id"], unique=False)
    op.create_index(op.f("ix_samples_source_captured_s_id"), "samples", ["source", "captured_s", "id"], unique=False)
    op.create_index(op.f("ix_samples_model_captured_s_id"), "samples", ["model", "captured_s", "id"], unique=False)
    op.create_index(op.f("ix_samples_label_captured_s"), "samples", ["label", "captured_s"], unique=False)
    op.create_index(op.f("ix_samples_label_received_s"), "samples", ["label", "received_s"], unique=False)
    op.create_index(op.f("ix_samples_labelled_at_s"), "samples", ["labelled_at_s"], unique=False)
    op.create_index(op.f("ix_samples_blob_sha256"), "samples", ["blob_sha256"], unique=False)
    op.create_table(
        "sample_labels",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("sample", sa.String(length=256), nullable=False),
        sa.Column("at_s", sa.Double(), nullable=False),
        sa.Column("actor", sa.String(length=256), nullable=False),
        sa.Column("before", sa.String(length=256), nullable=False),
        sa.Column("after", sa.String(length=256), nullable=False),
        sa.ForeignKeyConstraint(["sample"], ["samples.id"], name=op.f("fk_sample_labels_sample")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_sample_labels")),
    )
    op.create_index(op.f("ix_sample_labels_sample_number"), "sample_labels", ["sample", "number"], unique=False)
    op.create_table(
        "sample_segments",
        sa.Column("site", sa.String(length=256), nullable=False),
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("samples", sa.Integer(), nullable=False),
        sa.Column("doubled", sa.Integer(), nullable=False),
        sa.Column("refused", sa.Integer(), nullable=False),
        sa.Column("done_s", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("site", "name", "sha256", name=op.f("pk_sample_segments")),
    )
    op.create_index(op.f("ix_sample_segments_done_s"), "sample_segments", ["done_s"], unique=False)
    op.create_table(
        "sample_blobs_leaving",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("since_s", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_sample_blobs_leaving")),
    )
    op.create_index(op.f("ix_sample_blobs_leaving_since_s"), "sample_blobs_leaving", ["since_s"], unique=False)
