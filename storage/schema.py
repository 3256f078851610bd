"""The catalogue's tables, the same on SQLite and PostgreSQL.

Times are microseconds since 1970 UTC in a BIGINT (`UtcTime`), so that both databases order them alike.  Several
values of one attribute are joined by a backslash, as in DICOM.  No table holds a path or a name from the network.

The migrations make the tables.  Which rows an index holds is said here in SQLite's words only: PostgreSQL's would load
its dialect in every process.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class UtcTime(sa.TypeDecorator[datetime]):
    """A timezone-aware UTC time, kept as microseconds since 1970."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002, D102
        return None if value is None else (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002, D102
        return None if value is None else _EPOCH + value * _MICROSECOND


_Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_Uid = sa.String(64)
_Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Text that is looked up by how it begins: in the order of its bytes, which is SQLite's own."""

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)

studies = sa.Table(
    "studies",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    sa.Column("study_instance_uid", _Uid, nullable=False, unique=True),
    # patient, as the first instance told it
    sa.Column("patient_id", _Text),
    sa.Column("issuer_of_patient_id", sa.Text),
    sa.Column("patient_name", sa.Text),
    sa.Column("patient_name_folded", _Text),
    sa.Column("patient_name_order", _Text),
    sa.Column("patient_birth_date", sa.Text),
    sa.Column("patient_sex", sa.Text),
    sa.Column("identity_conflict", sa.Boolean, nullable=False, default=False),
    # study
    sa.Column("study_date", _Text),
    sa.Column("study_time", _Text),
    sa.Column("accession_number", _Text, index=True),
    sa.Column("study_id", sa.Text),
    sa.Column("study_description", sa.Text),
    sa.Column("referring_physician_name", sa.Text),
    sa.Column("referring_physician_name_folded", _Text),
    sa.Column("modalities", _Text, nullable=False, default=""),
    sa.Column("series_count", sa.Integer, nullable=False, default=0),
    sa.Column("instance_count", sa.Integer, nullable=False, default=0),
    # lifecycle
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("revision", sa.Integer, nullable=False, default=1),
    sa.Column("received_first", UtcTime, nullable=False),
    sa.Column("received_last", UtcTime, nullable=False),
    sa.Column("released_at", UtcTime),
    sa.Column("longest_gap_s", sa.Float, nullable=False, default=0.0),
    sa.Column("pauses", sa.Text),
    sa.Column("quiet_until", UtcTime, nullable=False),
    sa.Column("completed_at", UtcTime),
    sa.Column("completion_reason", sa.Text),
    sa.Column("completion_probability", sa.Float),
    # the reading list
    sa.Column("ready_at", UtcTime),
    sa.Column("due_at", UtcTime),
    sa.Column("order_priority", sa.String(16)),
    sa.Column("manual_priority", sa.String(16)),
    sa.Column("manual_by", sa.Text),
    sa.Column("ai_urgency", sa.String(16)),
    sa.Column("due_without_ai", UtcTime),
    # who has it open, and who read which revision of it
    sa.Column("opened_at", UtcTime),
    sa.Column("opened_by", sa.Text),
    sa.Column("open_until", UtcTime),
    sa.Column("reported_at", UtcTime),
    sa.Column("reported_by", sa.Text),
    sa.Column("reported_revision", sa.Integer),
    sa.Index("ix_studies_patient_id_study_date", "patient_id", "study_date"),
    # the order of a search's answers, with the name that most searches look at on the way
    sa.Index("ix_studies_study_date_id", "study_date", "id", "patient_name_folded"),
    sa.Index("ix_studies_patient_name_order_id", "patient_name_order", "id"),
    sa.Index("ix_studies_modalities_study_date_id", "modalities", "study_date", "id"),
    sa.Index("ix_studies_state_quiet_until", "state", "quiet_until"),
    sa.Index("ix_studies_due_at", "due_at"),
    sa.Index("ix_studies_ready_at", "ready_at"),
    sa.Index("ix_studies_open_until", "open_until"),
)

study_texts = sa.Table(
    "study_texts",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    sa.Column("study_pk", _Id, sa.ForeignKey("studies.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("tag", sa.Integer, nullable=False),
    sa.Column("text", _Text, nullable=False),
    sa.Column("study_date", _Text),
    sa.Index("ix_study_texts_tag_text", "tag", "text", "study_date", "study_pk"),
)
"""What studies are found by where only a part of it is given: a row for each text, and for each group of a name.

With the study's date, so that the newest of those found are known before any study is read.

Triggers of the database write it whenever `studies` is told such a text, and never otherwise; nothing else may.  An
index of trigrams lies over `text` where the database has one: FTS5's on SQLite, pg_trgm's on PostgreSQL (step 0006).
"""

series = sa.Table(
    "series",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    sa.Column("study_pk", _Id, sa.ForeignKey("studies.id"), nullable=False),
    sa.Column("series_instance_uid", _Uid, nullable=False),
    sa.Column("modality", sa.Text),
    sa.Column("series_number", sa.Integer),
    sa.Column("series_description", sa.Text),
    sa.Column("body_part_examined", sa.Text),
    sa.Column("protocol_name", sa.Text),
    sa.Column("manufacturer", sa.Text),
    sa.Column("station_name", sa.Text),
    sa.Column("pps_start_date", sa.Text),
    sa.Column("pps_start_time", sa.Text),
    # of the items of (0040,0275) Request Attributes Sequence, as multiple values
    sa.Column("scheduled_procedure_step_ids", sa.Text),
    sa.Column("requested_procedure_ids", sa.Text),
    sa.Column("instance_count", sa.Integer, nullable=False, default=0),
    sa.Column("made_here", sa.Boolean, nullable=False, default=False, server_default=sa.false()),
    sa.UniqueConstraint("study_pk", "series_instance_uid"),
    sa.Index("ix_series_series_instance_uid", "series_instance_uid"),
)

instances = sa.Table(
    "instances",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    sa.Column("series_pk", _Id, sa.ForeignKey("series.id"), nullable=False, index=True),
    sa.Column("study_pk", _Id, sa.ForeignKey("studies.id"), nullable=False, index=True),
    sa.Column("sop_instance_uid", _Uid, nullable=False, unique=True),
    sa.Column("sop_class_uid", _Uid, nullable=False),
    sa.Column("transfer_syntax_uid", _Uid, nullable=False),
    sa.Column("object_key", sa.String(64), nullable=False, index=True),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("meta_bytes", sa.Integer, nullable=False),
    sa.Column("instance_number", sa.Integer),
    sa.Column("image_type", sa.Text, nullable=False, default=""),
    sa.Column("rows", sa.Integer),
    sa.Column("columns", sa.Integer),
    sa.Column("number_of_frames", sa.Integer),
    sa.Column("bits_allocated", sa.Integer),
    sa.Column("image_position_patient", sa.Text),
    sa.Column("image_orientation_patient", sa.Text),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("received_at", UtcTime, nullable=False),
    sa.Column("via", sa.String(16), nullable=False),
    sa.Column("calling_aet", sa.Text, nullable=False, default=""),
    sa.Column("called_aet", sa.Text, nullable=False, default=""),
    sa.Column("address", sa.Text, nullable=False, default=""),
    # what a whole read is checked by; without it by the SHA-256 that the object's key is
    sa.Column("checksum", sa.LargeBinary),
)

quarantine = sa.Table(
    "quarantine",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    sa.Column("sop_instance_uid", _Uid, nullable=False, index=True),
    sa.Column("study_instance_uid", _Uid, nullable=False),
    sa.Column("object_key", sa.String(64), nullable=False, index=True),
    sa.Column("meta_bytes", sa.Integer, nullable=False),
    sa.Column("kept_object_key", sa.String(64), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("calling_aet", sa.Text, nullable=False, default=""),
    sa.Column("address", sa.Text, nullable=False, default=""),
    sa.Column("received_at", UtcTime, nullable=False),
    # what a person decided; ids are never used twice, so that a late decision meets no other copy
    sa.Column("state", sa.String(16), nullable=False, default="WAITING", server_default="WAITING"),
    sa.Column("decided_at", UtcTime),
    sa.Column("decided_by", sa.Text),
    sa.Column("decided_why", sa.Text),
    sa.Index(
        "uq_quarantine_waiting",
        "sop_instance_uid",
        "object_key",
        unique=True,
        sqlite_where=sa.text("state = 'WAITING'"),
    ),
    sqlite_autoincrement=True,
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("study_pk", _Id, sa.ForeignKey("studies.id"), nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("model_id", sa.Text, nullable=False),
    sa.Column("model_version", sa.Text, nullable=False),
    sa.Column("model_digest", sa.String(64), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("due_at", UtcTime, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("claimed_at", UtcTime),
    sa.Column("ended_at", UtcTime),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("lease_owner", sa.Text),
    sa.Column("lease_until", UtcTime),
    sa.Column("not_before", UtcTime),
    sa.Column("reason", sa.Text),
    # consecutive slices that a run on a part of a series was made for; 0: the run on all of it
    sa.Column("provisional", sa.Integer, nullable=False, default=0, server_default="0"),
    sa.Column("size", sa.String(8), nullable=False, server_default="small"),
    sa.UniqueConstraint("study_pk", "revision", "model_digest", "provisional"),
    sa.Index("ix_jobs_state_due_at", "state", "due_at"),
    sa.Index("ix_jobs_created_at", "created_at"),
)

results = sa.Table(
    "results",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("job_id", sa.String(32), sa.ForeignKey("jobs.id"), nullable=False, unique=True),
    sa.Column("study_pk", _Id, sa.ForeignKey("studies.id"), nullable=False, index=True),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("model_id", sa.Text, nullable=False),
    sa.Column("model_version", sa.Text, nullable=False),
    sa.Column("model_digest", sa.String(64), nullable=False),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("detail", sa.Text, nullable=False, default=""),
    sa.Column("findings", sa.JSON, nullable=False),
    sa.Column("urgency", sa.String(16)),
    sa.Column("raises", sa.Boolean, nullable=False),
    sa.Column("series_instance_uid", _Uid),
    sa.Column("series_reasons", sa.JSON, nullable=False),
    sa.Column("provenance", sa.JSON, nullable=False),
    sa.Column("times", sa.JSON, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("superseded_by", sa.Integer),
    # a person's word that it holds no longer; what was found stays as it was
    sa.Column("retracted_at", UtcTime),
    sa.Column("retracted_by", sa.Text),
    sa.Column("retracted_why", sa.Text),
    sa.Column("provisional", sa.Integer),
    # the DICOM objects that tell it: when they were kept, and which they are
    sa.Column("reported_at", UtcTime),
    sa.Column("objects", sa.JSON),
    sa.Index("ix_results_study_pk_model_id", "study_pk", "model_id"),
    sa.Index("ix_results_created_at", "created_at"),
)
sa.Index(
    "ix_results_unreported",
    results.c.created_at,
    sqlite_where=results.c.reported_at.is_(None),
)

changes = sa.Table(
    "changes",
    metadata,
    sa.Column("seq", _Id, primary_key=True, autoincrement=True),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("study_instance_uid", _Uid),
    sa.Column("series_instance_uid", _Uid),
    sa.Column("sop_instance_uid", _Uid),
    sa.Column("revision", sa.Integer),
    sa.Column("detail", sa.JSON, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sqlite_autoincrement=True,
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("seq", _Id, primary_key=True, autoincrement=True),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("action", sa.String(48), nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("detail", sa.JSON, nullable=False),
    sqlite_autoincrement=True,
)

peers = sa.Table(
    "peers",
    metadata,
    sa.Column("aet", sa.String(16), primary_key=True),
    sa.Column("host", sa.Text, primary_key=True),
    sa.Column("port", sa.Integer),
    sa.Column("added_at", UtcTime, nullable=False),
    sa.Column("on_conflict", sa.String(8), nullable=False, default="refuse", server_default="refuse"),
)

# ------------------------------------------------------------------------------------------- integrity for life
removals = sa.Table(
    "removals",
    metadata,
    sa.Column("object_key", sa.String(64), primary_key=True),
    sa.Column("state", sa.String(8), nullable=False),
    sa.Column("since", UtcTime, nullable=False),
    sa.Column("stamp", sa.String(32), nullable=False),
    sa.Column("tombstone_key", sa.String(64)),
    sa.Index("ix_removals_state_object_key", "state", "object_key"),
)

tombstones = sa.Table(
    "tombstones",
    metadata,
    sa.Column("object_key", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("study_instance_uid", _Uid, nullable=False, index=True),
    sa.Column("at", UtcTime, nullable=False),
)

damaged = sa.Table(
    "damaged",
    metadata,
    sa.Column("object_key", sa.String(64), primary_key=True),
    sa.Column("damage", sa.String(8), nullable=False),
    sa.Column("found_at", UtcTime, nullable=False),
)

upkeep = sa.Table(
    "upkeep",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("started_at", UtcTime, nullable=False),
    sa.Column("ended_at", UtcTime),
    sa.Column("lease_owner", sa.Text),
    sa.Column("lease_until", UtcTime),
    sa.Column("position", sa.String(64), nullable=False, default=""),
    sa.Column("figures", sa.JSON, nullable=False),
    sa.Index("ix_upkeep_kind_started_at", "kind", "started_at"),
)

# ------------------------------------------------------------------------- durable, but not in the object store yet
landings = sa.Table(
    "landings",
    metadata,
    sa.Column("object_key", sa.String(64), primary_key=True),
    sa.Column("landing", sa.String(32), primary_key=True),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("meta_bytes", sa.Integer, nullable=False),
    sa.Column("since", UtcTime, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("not_before", UtcTime),
    sa.Column("last_error", sa.Text),
    sa.Index("ix_landings_landing_since", "landing", "since"),
)

# --------------------------------------------------------------- made after ingest, and made again where it is lost
extracts = sa.Table(
    "extracts",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    sa.Column("study_pk", _Id, sa.ForeignKey("studies.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("series_pk", _Id, sa.ForeignKey("series.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("form", sa.Integer, nullable=False),
    # what the text is of: object keys of 32 bytes; lengths and marks of 4 bytes, little endian
    sa.Column("members", sa.LargeBinary, nullable=False),
    sa.Column("lengths", sa.LargeBinary, nullable=False),
    sa.Column("marks", sa.LargeBinary, nullable=False),
    sa.Column("base_url", sa.Text, nullable=False),
    sa.Column("text_bytes", sa.Integer, nullable=False),
    sa.Column("crc", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
)

places = sa.Table(
    "places",
    metadata,
    sa.Column("instance_pk", _Id, sa.ForeignKey("instances.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("form", sa.Integer, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
)

# ------------------------------------------------------------------------------------ out of sight, on somebody's word
hidden = sa.Table(
    "hidden",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    sa.Column("sop_instance_uid", _Uid, nullable=False, unique=True),
    sa.Column("study_instance_uid", _Uid, nullable=False, index=True),
    # the instance as it stood in `instances`; nothing where it has not come, or is gone for good
    sa.Column("series_instance_uid", _Uid),
    sa.Column("sop_class_uid", _Uid),
    sa.Column("transfer_syntax_uid", _Uid),
    sa.Column("object_key", sa.String(64), index=True),
    sa.Column("size_bytes", sa.BigInteger),
    sa.Column("meta_bytes", sa.Integer),
    sa.Column("received_at", UtcTime),
    sa.Column("address", sa.Text, nullable=False, default=""),
    # who wants it hidden, and why
    sa.Column("code", sa.String(16), nullable=False, default=""),
    sa.Column("hidden_at", UtcTime, nullable=False),
    sa.Column("hidden_by", sa.Text, nullable=False),
    sa.Column("hidden_why", sa.Text, nullable=False),
    sa.Column("tombstone_key", sa.String(64), nullable=False),
    sa.Column("checksum", sa.LargeBinary),
)

rejection_notes = sa.Table(
    "rejection_notes",
    metadata,
    sa.Column("object_key", sa.String(64), primary_key=True),
    sa.Column("sop_instance_uid", _Uid, nullable=False, index=True),
    sa.Column("study_instance_uid", _Uid, nullable=False),
    sa.Column("meta_bytes", sa.Integer, nullable=False),
    sa.Column("sender", sa.Text, nullable=False),
    sa.Column("received_at", UtcTime, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("not_before", UtcTime),
    sa.Column("code", sa.String(16), nullable=False, default=""),
    sa.Column("reason", sa.Text, nullable=False, default=""),
    sa.Column("figures", sa.JSON, nullable=False),
    sa.Index("ix_rejection_notes_state_received_at", "state", "received_at"),
)

# ------------------------------------------------------------------------------- workitems of others, and who watches
workitems = sa.Table(
    "workitems",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    sa.Column("sop_instance_uid", _Uid, nullable=False, unique=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("transaction_uid", _Uid),
    # DICOM JSON, without what stands in the columns beside it
    sa.Column("attributes", sa.JSON, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("modified_at", UtcTime, nullable=False),
    sa.Column("ended_at", UtcTime),
    # removed when its time was over: the row remembers the UID, nothing else
    sa.Column("gone_at", UtcTime),
    sa.Index("ix_workitems_ended_at", "ended_at"),
    sa.Index("ix_workitems_gone_at", "gone_at"),
)

workitem_keys = sa.Table(
    "workitem_keys",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    sa.Column("workitem_pk", _Id, sa.ForeignKey("workitems.id"), nullable=False, index=True),
    sa.Column("path", sa.Text, nullable=False),
    # the item of the outer sequence, and of the one within it
    sa.Column("item", sa.Integer, nullable=False, default=0),
    sa.Column("inner_item", sa.Integer, nullable=False, default=0),
    sa.Column("value", sa.Text, nullable=False),
    sa.Index("ix_workitem_keys_path_value", "path", "value"),
)

workitem_subscriptions = sa.Table(
    "workitem_subscriptions",
    metadata,
    sa.Column("workitem_uid", _Uid, primary_key=True),
    sa.Column("aet", sa.String(16), primary_key=True),
    sa.Column("deletion_lock", sa.Boolean, nullable=False),
    sa.Column("since", UtcTime, nullable=False),
    # of a job, whose own table is the truth: which, and the state that was told last
    sa.Column("job_id", sa.String(32)),
    sa.Column("told", sa.String(16)),
    sa.Index("ix_workitem_subscriptions_aet_job_id", "aet", "job_id"),
    sa.Index("ix_workitem_subscriptions_aet_told", "aet", "told"),
)

worklist_subscriptions = sa.Table(
    "worklist_subscriptions",
    metadata,
    sa.Column("aet", sa.String(16), primary_key=True),
    sa.Column("worklist_uid", _Uid, primary_key=True),
    sa.Column("deletion_lock", sa.Boolean, nullable=False),
    sa.Column("filter", sa.JSON, nullable=False),
    sa.Column("since", UtcTime, nullable=False),
    # jobs made before this were looked at
    sa.Column("looked_until", UtcTime, nullable=False),
)

event_reports = sa.Table(
    "event_reports",
    metadata,
    sa.Column("seq", _Id, primary_key=True, autoincrement=True),
    sa.Column("aet", sa.String(16), nullable=False),
    sa.Column("workitem_uid", _Uid, nullable=False),
    sa.Column("event_type", sa.Integer, nullable=False),
    sa.Column("attributes", sa.JSON, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Index("ix_event_reports_aet_seq", "aet", "seq"),
    sa.Index("ix_event_reports_at", "at"),
    sqlite_autoincrement=True,
)

subscribers = sa.Table(
    "subscribers",
    metadata,
    sa.Column("aet", sa.String(16), primary_key=True),
    sa.Column("delivered_seq", sa.BigInteger, nullable=False, default=0),
    sa.Column("opened_at", UtcTime),
)

# ----------------------------------------------------------------------------------------- life of a model at a site
deployments = sa.Table(
    "deployments",
    metadata,
    sa.Column("model_digest", sa.String(64), primary_key=True),
    sa.Column("model_id", sa.Text, nullable=False),
    sa.Column("model_version", sa.Text, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    # while it is enabled: on which ground, after which local check
    sa.Column("mode", sa.String(16)),
    sa.Column("check_id", sa.String(32)),
    sa.Column("since", UtcTime, nullable=False),
    sa.Column("decided_by", sa.Text, nullable=False),
    sa.Column("decided_why", sa.Text, nullable=False),
    sa.Index("ix_deployments_model_id", "model_id"),
)
"""The site's word on each model that it met; every step is a line of the audit."""

model_stops = sa.Table(
    "model_stops",
    metadata,
    # an asterisk stops every model
    sa.Column("model_id", sa.Text, primary_key=True),
    sa.Column("stopped_at", UtcTime, nullable=False),
    sa.Column("stopped_by", sa.Text, nullable=False),
    sa.Column("stopped_why", sa.Text, nullable=False),
)

model_opt_outs = sa.Table(
    "model_opt_outs",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    sa.Column("patient_id", _Text, nullable=False, index=True),
    # empty: whoever issued it
    sa.Column("issuer_of_patient_id", sa.Text, nullable=False, default=""),
    sa.Column("since", UtcTime, nullable=False),
    sa.Column("declared_by", sa.Text, nullable=False),
    sa.Column("declared_why", sa.Text, nullable=False),
    sa.Column("ended_at", UtcTime),
    sqlite_autoincrement=True,
)

model_permits = sa.Table(
    "model_permits",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    sa.Column("model_digest", sa.String(64), nullable=False, index=True),
    sa.Column("kind", sa.String(16), nullable=False),
    # the circulation number, or of a signed statement the digest of its file
    sa.Column("number", sa.Text, nullable=False, default=""),
    sa.Column("statement_sha256", sa.String(64)),
    sa.Column("signed_by", sa.Text, nullable=False, default=""),
    sa.Column("signed_on", sa.String(10), nullable=False),
    sa.Column("expires_on", sa.String(10)),
    sa.Column("recorded_at", UtcTime, nullable=False),
    sa.Column("recorded_by", sa.Text, nullable=False),
    sqlite_autoincrement=True,
)

model_checks = sa.Table(
    "model_checks",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("model_digest", sa.String(64), nullable=False, index=True),
    sa.Column("passed", sa.Boolean, nullable=False),
    sa.Column("figures", sa.JSON, nullable=False),
    sa.Column("checked_at", UtcTime, nullable=False),
    sa.Column("checked_by", sa.Text, nullable=False),
)

model_operating_points = sa.Table(
    "model_operating_points",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("model_digest", sa.String(64), nullable=False, index=True),
    sa.Column("finding_code", sa.Text, nullable=False),
    sa.Column("threshold", sa.Float, nullable=False),
    sa.Column("figures", sa.JSON, nullable=False),
    sa.Column("chosen_at", UtcTime, nullable=False),
    sa.Column("chosen_by", sa.Text, nullable=False),
    # another one took its place, or the card's own did
    sa.Column("ended_at", UtcTime),
)

model_incidents = sa.Table(
    "model_incidents",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("model_id", sa.Text, nullable=False),
    sa.Column("model_digest", sa.String(64), nullable=False),
    sa.Column("result_id", sa.String(32)),
    sa.Column("what", sa.Text, nullable=False),
    # the result as it stood when the incident was recorded
    sa.Column("frozen", sa.JSON, nullable=False),
    sa.Column("known_at", UtcTime, nullable=False),
    sa.Column("recorded_at", UtcTime, nullable=False),
    sa.Column("recorded_by", sa.Text, nullable=False),
    # by duty, when and by whom it was done
    sa.Column("done", sa.JSON, nullable=False),
)

# ------------------------------------------------------------------------------------ how studies of a sender end
silences = sa.Table(
    "silences",
    metadata,
    sa.Column("sender", sa.Text, primary_key=True),
    sa.Column("modality", sa.Text, primary_key=True),
    sa.Column("situation", sa.String(16), primary_key=True),
    sa.Column("bucket", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("studies", sa.Float, nullable=False),
)
"""Of how many studies the longest silence that was broken again fell into which bucket, all log-spaced."""

# ----------------------------------------------------------------------------------- when a result reached a reader
showings = sa.Table(
    "showings",
    metadata,
    sa.Column("result_id", sa.String(32), sa.ForeignKey("results.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("shown_at", UtcTime, nullable=False),
)

# ---------------------------------------------------------------------------------------------- results as objects
result_inputs = sa.Table(
    "result_inputs",
    metadata,
    sa.Column("result_id", sa.String(32), sa.ForeignKey("results.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("instances", sa.LargeBinary, nullable=False),
)
"""What a model looked at, in its order: SOP Instance UIDs, one a line, deflated.  A CT would be 30 KB in the open."""

# ------------------------------------------------------------- the rule of the reading list, and what readers say
targets = sa.Table(
    "targets",
    metadata,
    sa.Column("urgency_class", sa.String(16), primary_key=True),
    sa.Column("minutes", sa.Integer, nullable=False),
    sa.Column("set_at", UtcTime, nullable=False),
    sa.Column("set_by", sa.Text, nullable=False),
)

flag_guard = sa.Table(
    "flag_guard",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("is_on", sa.Boolean, nullable=False),
    sa.Column("since", UtcTime, nullable=False),
    # what was counted when it went on or off
    sa.Column("waiting", sa.Integer, nullable=False),
    sa.Column("flagged", sa.Integer, nullable=False),
)
"""One row, once the share of flagged studies was too high for the first time."""

feedback = sa.Table(
    "feedback",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    sa.Column("result_id", sa.String(32), sa.ForeignKey("results.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("finding_code", sa.Text, nullable=False),
    # nothing where an actor takes a word back
    sa.Column("verdict", sa.String(16)),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Index("ix_feedback_at", "at"),
)

reruns = sa.Table(
    "reruns",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("result_id", sa.String(32), sa.ForeignKey("results.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("asked_at", UtcTime, nullable=False),
    sa.Column("asked_by", sa.Text, nullable=False),
    sa.Column("began_at", UtcTime),
    sa.Column("ended_at", UtcTime),
    sa.Column("answer", sa.JSON),
    sa.Index("ix_reruns_ended_at_asked_at", "ended_at", "asked_at"),
)
