"""What a search for series has to match and tell: the performed step's start and the requests; bits of an instance

Revision 0014, after 0013.
"""

import sqlalchemy as sa
from alembic import op


revision = '0014'
down_revision = "0013"
branch_labels = None
depends_on = None

_OF_SERIES = ('pps_start_date', 'pps_start_time', 'scheduled_procedure_step_ids', 'requested_procedure_ids')


def upgrade() -> None:
    for name in _OF_SERIES:
        op.add_column('series', sa.Column(name, sa.Text(), nullable=True))
    op.add_column('instances', sa.Column('bits_allocated', sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column('instances', 'bits_allocated')
    for name in reversed(_OF_SERIES):
        op.drop_column('series', name)
