"""When a result was first on a list that somebody asked for, and results found by the time they were made

Revision 0010, after 0009.
"""

import sqlalchemy as sa
from alembic import op


revision = '0010'
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index('ix_results_created_at', 'results', ['created_at'], unique=False)
    op.create_table('showings',
    sa.Column('result_id', sa.String(length=32), nullable=False),
    sa.Column('shown_at', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(
        ['result_id'], ['results.id'], name=op.f('fk_showings_result_id'), ondelete='CASCADE'
    ),
    sa.PrimaryKeyConstraint('result_id', name=op.f('pk_showings'))
    )


def downgrade() -> None:
    op.drop_table('showings')
    op.drop_index('ix_results_created_at', table_name='results')
