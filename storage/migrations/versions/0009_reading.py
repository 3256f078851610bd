"""The rule of the reading list: due times without AI, who has a study open or has read it, targets, guard, feedback

Revision 0009, after 0008.
"""

import sqlalchemy as sa
from alembic import op


revision = '0009'
down_revision = "0008"
branch_labels = None
depends_on = None

MINUTE = 60_000_000
"""Of the microseconds in which times are kept."""

COLUMNS = (
    ('due_without_ai', sa.BigInteger()),
    ('opened_at', sa.BigInteger()),
    ('opened_by', sa.Text()),
    ('open_until', sa.BigInteger()),
    ('reported_at', sa.BigInteger()),
    ('reported_by', sa.Text()),
    ('reported_revision', sa.Integer()),
)


def upgrade() -> None:
    for name, kind in COLUMNS:
        op.add_column('studies', sa.Column(name, kind, nullable=True))
    op.create_index('ix_studies_ready_at', 'studies', ['ready_at'], unique=False)
    op.create_index('ix_studies_open_until', 'studies', ['open_until'], unique=False)
    # By the targets of every release before this one.
    op.execute(
        f"UPDATE studies SET due_without_ai = ready_at + CAST({MINUTE} AS BIGINT) * CASE "
        "WHEN 'STAT' IN (order_priority, manual_priority) THEN 15 "
        "WHEN 'URGENT' IN (order_priority, manual_priority) THEN 45 ELSE 240 END "
        "WHERE ready_at IS NOT NULL"
    )
    op.create_table('targets',
    sa.Column('urgency_class', sa.String(length=16), nullable=False),
    sa.Column('minutes', sa.Integer(), nullable=False),
    sa.Column('set_at', sa.BigInteger(), nullable=False),
    sa.Column('set_by', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('urgency_class', name=op.f('pk_targets'))
    )
    op.create_table('flag_guard',
    sa.Column('id', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('is_on', sa.Boolean(), nullable=False),
    sa.Column('since', sa.BigInteger(), nullable=False),
    sa.Column('waiting', sa.Integer(), nullable=False),
    sa.Column('flagged', sa.Integer(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_flag_guard'))
    )
    op.create_table('feedback',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('result_id', sa.String(length=32), nullable=False),
    sa.Column('finding_code', sa.Text(), nullable=False),
    sa.Column('verdict', sa.String(length=16), nullable=True),
    sa.Column('actor', sa.Text(), nullable=False),
    sa.Column('at', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(
        ['result_id'], ['results.id'], name=op.f('fk_feedback_result_id'), ondelete='CASCADE'
    ),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_feedback'))
    )
    op.create_index(op.f('ix_feedback_result_id'), 'feedback', ['result_id'], unique=False)
    op.create_index('ix_feedback_at', 'feedback', ['at'], unique=False)


def downgrade() -> None:
    for table in ('feedback', 'flag_guard', 'targets'):
        op.drop_table(table)
    for name in ('open_until', 'ready_at'):
        op.drop_index(f'ix_studies_{name}', table_name='studies')
    for name, _ in COLUMNS:
        op.drop_column('studies', name)
