"""Integrity for life: quarantine decisions, deletions that last, and what is still on its way

Revision 0002, after 0001.
"""

import sqlalchemy as sa
from alembic import op


revision = '0002'
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('removals',
    sa.Column('object_key', sa.String(length=64), nullable=False),
    sa.Column('state', sa.String(length=8), nullable=False),
    sa.Column('since', sa.BigInteger(), nullable=False),
    sa.Column('stamp', sa.String(length=32), nullable=False),
    sa.Column('tombstone_key', sa.String(length=64), nullable=True),
    sa.PrimaryKeyConstraint('object_key', name=op.f('pk_removals'))
    )
    op.create_index('ix_removals_state_object_key', 'removals', ['state', 'object_key'], unique=False)
    op.create_table('tombstones',
    sa.Column('object_key', sa.String(length=64), nullable=False),
    sa.Column('kind', sa.String(length=16), nullable=False),
    sa.Column('study_instance_uid', sa.String(length=64), nullable=False),
    sa.Column('at', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('object_key', name=op.f('pk_tombstones'))
    )
    op.create_index(op.f('ix_tombstones_study_instance_uid'), 'tombstones', ['study_instance_uid'], unique=False)
    op.create_table('damaged',
    sa.Column('object_key', sa.String(length=64), nullable=False),
    sa.Column('damage', sa.String(length=8), nullable=False),
    sa.Column('found_at', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('object_key', name=op.f('pk_damaged'))
    )
    op.create_table('upkeep',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('kind', sa.String(length=16), nullable=False),
    sa.Column('started_at', sa.BigInteger(), nullable=False),
    sa.Column('ended_at', sa.BigInteger(), nullable=True),
    sa.Column('lease_owner', sa.Text(), nullable=True),
    sa.Column('lease_until', sa.BigInteger(), nullable=True),
    sa.Column('position', sa.String(length=64), nullable=False),
    sa.Column('figures', sa.JSON(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_upkeep'))
    )
    op.create_index('ix_upkeep_kind_started_at', 'upkeep', ['kind', 'started_at'], unique=False)
    op.create_table('landings',
    sa.Column('object_key', sa.String(length=64), nullable=False),
    sa.Column('landing', sa.String(length=32), nullable=False),
    sa.Column('host', sa.Text(), nullable=False),
    sa.Column('size_bytes', sa.BigInteger(), nullable=False),
    sa.Column('meta_bytes', sa.Integer(), nullable=False),
    sa.Column('since', sa.BigInteger(), nullable=False),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('not_before', sa.BigInteger(), nullable=True),
    sa.Column('last_error', sa.Text(), nullable=True),
    sa.PrimaryKeyConstraint('object_key', 'landing', name=op.f('pk_landings'))
    )
    op.create_index('ix_landings_landing_since', 'landings', ['landing', 'since'], unique=False)


    with op.batch_alter_table('quarantine', table_kwargs={'sqlite_autoincrement': True}) as batch:
        batch.drop_constraint('uq_quarantine_sop_instance_uid_object_key', type_='unique')
        batch.add_column(sa.Column('state', sa.String(length=16), server_default='WAITING', nullable=False))
        batch.add_column(sa.Column('decided_at', sa.BigInteger(), nullable=True))
        batch.add_column(sa.Column('decided_by', sa.Text(), nullable=True))
        batch.add_column(sa.Column('decided_why', sa.Text(), nullable=True))
    op.create_index(
        'uq_quarantine_waiting', 'quarantine', ['sop_instance_uid', 'object_key'], unique=True,
        sqlite_where=sa.text("state = 'WAITING'"), postgresql_where=sa.text("state = 'WAITING'"),
    )
    op.add_column('peers', sa.Column('on_conflict', sa.String(length=8), server_default='refuse', nullable=False))


def downgrade() -> None:
    with op.batch_alter_table('peers') as batch:
        batch.drop_column('on_conflict')
    op.execute("DELETE FROM quarantine WHERE state <> 'WAITING'")
    op.drop_index('uq_quarantine_waiting', table_name='quarantine')
    with op.batch_alter_table('quarantine') as batch:
        for column in ('decided_why', 'decided_by', 'decided_at', 'state'):
            batch.drop_column(column)
        batch.create_unique_constraint('uq_quarantine_sop_instance_uid_object_key', ['sop_instance_uid', 'object_key'])
    op.drop_table('landings')
    for table in ('upkeep', 'damaged', 'tombstones', 'removals'):
        op.drop_table(table)
