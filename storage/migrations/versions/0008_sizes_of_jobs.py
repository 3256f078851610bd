"""How long a job may keep a model busy, so that a small one need not wait for a large one

Revision 0008, after 0007.
"""

import sqlalchemy as sa
from alembic import op


revision = '0008'
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('jobs', sa.Column('size', sa.String(8), nullable=False, server_default='small'))


def downgrade() -> None:
    op.drop_column('jobs', 'size')
