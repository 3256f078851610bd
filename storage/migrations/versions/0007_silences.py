"""How studies of a sender end: their pauses, and what was learned of them

Revision 0007, after 0006.
"""

import sqlalchemy as sa
from alembic import op


revision = '0007'
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('studies', sa.Column('pauses', sa.Text(), nullable=True))
    op.add_column('studies', sa.Column('completion_probability', sa.Float(), nullable=True))
    op.create_table('silences',
    sa.Column('sender', sa.Text(), nullable=False),
    sa.Column('modality', sa.Text(), nullable=False),
    sa.Column('situation', sa.String(length=16), nullable=False),
    sa.Column('bucket', sa.Integer(), nullable=False, autoincrement=False),
    sa.Column('studies', sa.Float(), nullable=False),
    sa.PrimaryKeyConstraint('sender', 'modality', 'situation', 'bucket', name=op.f('pk_silences'))
    )


def downgrade() -> None:
    op.drop_table('silences')
    op.drop_column('studies', 'completion_probability')
    op.drop_column('studies', 'pauses')
