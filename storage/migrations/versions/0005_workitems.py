"""Workitems of others, who watches them and the triage jobs, and the events that wait for watchers

Revision 0005, after 0004.
"""

import sqlalchemy as sa
from alembic import op


revision = '0005'
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index('ix_jobs_created_at', 'jobs', ['created_at'], unique=False)
    op.create_table('workitems',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('sop_instance_uid', sa.String(length=64), nullable=False),
    sa.Column('state', sa.String(length=16), nullable=False),
    sa.Column('transaction_uid', sa.String(length=64), nullable=True),
    sa.Column('attributes', sa.JSON(), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.Column('modified_at', sa.BigInteger(), nullable=False),
    sa.Column('ended_at', sa.BigInteger(), nullable=True),
    sa.Column('gone_at', sa.BigInteger(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_workitems')),
    sa.UniqueConstraint('sop_instance_uid', name=op.f('uq_workitems_sop_instance_uid'))
    )
    op.create_index('ix_workitems_ended_at', 'workitems', ['ended_at'], unique=False)
    op.create_index('ix_workitems_gone_at', 'workitems', ['gone_at'], unique=False)
    op.create_table('workitem_keys',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('workitem_pk', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('path', sa.Text(), nullable=False),
    sa.Column('item', sa.Integer(), nullable=False),
    sa.Column('inner_item', sa.Integer(), nullable=False),
    sa.Column('value', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['workitem_pk'], ['workitems.id'], name=op.f('fk_workitem_keys_workitem_pk')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_workitem_keys'))
    )
    op.create_index(op.f('ix_workitem_keys_workitem_pk'), 'workitem_keys', ['workitem_pk'], unique=False)
    op.create_index('ix_workitem_keys_path_value', 'workitem_keys', ['path', 'value'], unique=False)
    op.create_table('workitem_subscriptions',
    sa.Column('workitem_uid', sa.String(length=64), nullable=False),
    sa.Column('aet', sa.String(length=16), nullable=False),
    sa.Column('deletion_lock', sa.Boolean(), nullable=False),
    sa.Column('since', sa.BigInteger(), nullable=False),
    sa.Column('job_id', sa.String(length=32), nullable=True),
    sa.Column('told', sa.String(length=16), nullable=True),
    sa.PrimaryKeyConstraint('workitem_uid', 'aet', name=op.f('pk_workitem_subscriptions'))
    )
    op.create_index(
        'ix_workitem_subscriptions_aet_job_id', 'workitem_subscriptions', ['aet', 'job_id'], unique=False
    )
    op.create_index('ix_workitem_subscriptions_aet_told', 'workitem_subscriptions', ['aet', 'told'], unique=False)
    op.create_table('worklist_subscriptions',
    sa.Column('aet', sa.String(length=16), nullable=False),
    sa.Column('worklist_uid', sa.String(length=64), nullable=False),
    sa.Column('deletion_lock', sa.Boolean(), nullable=False),
    sa.Column('filter', sa.JSON(), nullable=False),
    sa.Column('since', sa.BigInteger(), nullable=False),
    sa.Column('looked_until', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('aet', 'worklist_uid', name=op.f('pk_worklist_subscriptions'))
    )
    op.create_table('event_reports',
    sa.Column('seq', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('aet', sa.String(length=16), nullable=False),
    sa.Column('workitem_uid', sa.String(length=64), nullable=False),
    sa.Column('event_type', sa.Integer(), nullable=False),
    sa.Column('attributes', sa.JSON(), nullable=False),
    sa.Column('at', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('seq', name=op.f('pk_event_reports')),
    sqlite_autoincrement=True
    )
    op.create_index('ix_event_reports_aet_seq', 'event_reports', ['aet', 'seq'], unique=False)
    op.create_index('ix_event_reports_at', 'event_reports', ['at'], unique=False)
    op.create_table('subscribers',
    sa.Column('aet', sa.String(length=16), nullable=False),
    sa.Column('delivered_seq', sa.BigInteger(), nullable=False),
    sa.Column('opened_at', sa.BigInteger(), nullable=True),
    sa.PrimaryKeyConstraint('aet', name=op.f('pk_subscribers'))
    )


def downgrade() -> None:
    for table in (
        'subscribers', 'event_reports', 'worklist_subscriptions', 'workitem_subscriptions', 'workitem_keys', 'workitems'
    ):
        op.drop_table(table)
    op.drop_index('ix_jobs_created_at', table_name='jobs')
