"""Checksums of instances, by which a whole read is checked

Revision 0013, after 0012.
"""

import sqlalchemy as sa
from alembic import op


revision = '0013'
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ('instances', 'hidden'):
        op.add_column(table, sa.Column('checksum', sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    for table in ('hidden', 'instances'):
        op.drop_column(table, 'checksum')
