"""Extracts: metadata and the places of frames, made once after ingest

Revision 0003, after 0002.
"""

import sqlalchemy as sa
from alembic import op


revision = '0003'
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('extracts',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('study_pk', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('series_pk', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('form', sa.Integer(), nullable=False),
    sa.Column('members', sa.LargeBinary(), nullable=False),
    sa.Column('lengths', sa.LargeBinary(), nullable=False),
    sa.Column('marks', sa.LargeBinary(), nullable=False),
    sa.Column('base_url', sa.Text(), nullable=False),
    sa.Column('text_bytes', sa.Integer(), nullable=False),
    sa.Column('crc', sa.BigInteger(), nullable=False),
    sa.Column('digest', sa.LargeBinary(), nullable=False),
    sa.Column('content', sa.LargeBinary(), nullable=False),
    sa.ForeignKeyConstraint(
        ['series_pk'], ['series.id'], name=op.f('fk_extracts_series_pk'), ondelete='CASCADE'
    ),
    sa.ForeignKeyConstraint(
        ['study_pk'], ['studies.id'], name=op.f('fk_extracts_study_pk'), ondelete='CASCADE'
    ),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_extracts'))
    )
    op.create_index(op.f('ix_extracts_series_pk'), 'extracts', ['series_pk'], unique=False)
    op.create_index(op.f('ix_extracts_study_pk'), 'extracts', ['study_pk'], unique=False)
    op.create_table('places',
    sa.Column('instance_pk', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('form', sa.Integer(), nullable=False),
    sa.Column('content', sa.LargeBinary(), nullable=False),
    sa.ForeignKeyConstraint(
        ['instance_pk'], ['instances.id'], name=op.f('fk_places_instance_pk'), ondelete='CASCADE'
    ),
    sa.PrimaryKeyConstraint('instance_pk', name=op.f('pk_places'))
    )


def downgrade() -> None:
    op.drop_table('places')
    op.drop_table('extracts')
