"""What is hidden: instances out of sight, and the rejection notes that may ask for it

Revision 0004, after 0003.
"""

import sqlalchemy as sa
from alembic import op


revision = '0004'
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('hidden',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('sop_instance_uid', sa.String(length=64), nullable=False),
    sa.Column('study_instance_uid', sa.String(length=64), nullable=False),
    sa.Column('series_instance_uid', sa.String(length=64), nullable=True),
    sa.Column('sop_class_uid', sa.String(length=64), nullable=True),
    sa.Column('transfer_syntax_uid', sa.String(length=64), nullable=True),
    sa.Column('object_key', sa.String(length=64), nullable=True),
    sa.Column('size_bytes', sa.BigInteger(), nullable=True),
    sa.Column('meta_bytes', sa.Integer(), nullable=True),
    sa.Column('received_at', sa.BigInteger(), nullable=True),
    sa.Column('address', sa.Text(), nullable=False),
    sa.Column('code', sa.String(length=16), nullable=False),
    sa.Column('hidden_at', sa.BigInteger(), nullable=False),
    sa.Column('hidden_by', sa.Text(), nullable=False),
    sa.Column('hidden_why', sa.Text(), nullable=False),
    sa.Column('tombstone_key', sa.String(length=64), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_hidden')),
    sa.UniqueConstraint('sop_instance_uid', name=op.f('uq_hidden_sop_instance_uid'))
    )
    op.create_index(op.f('ix_hidden_object_key'), 'hidden', ['object_key'], unique=False)
    op.create_index(op.f('ix_hidden_study_instance_uid'), 'hidden', ['study_instance_uid'], unique=False)
    op.create_table('rejection_notes',
    sa.Column('object_key', sa.String(length=64), nullable=False),
    sa.Column('sop_instance_uid', sa.String(length=64), nullable=False),
    sa.Column('study_instance_uid', sa.String(length=64), nullable=False),
    sa.Column('meta_bytes', sa.Integer(), nullable=False),
    sa.Column('sender', sa.Text(), nullable=False),
    sa.Column('received_at', sa.BigInteger(), nullable=False),
    sa.Column('state', sa.String(length=16), nullable=False),
    sa.Column('not_before', sa.BigInteger(), nullable=True),
    sa.Column('code', sa.String(length=16), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('figures', sa.JSON(), nullable=False),
    sa.PrimaryKeyConstraint('object_key', name=op.f('pk_rejection_notes'))
    )
    op.create_index('ix_rejection_notes_sop_instance_uid', 'rejection_notes', ['sop_instance_uid'], unique=False)
    op.create_index(
        'ix_rejection_notes_state_received_at', 'rejection_notes', ['state', 'received_at'], unique=False
    )


def downgrade() -> None:
    """Nothing that is hidden may come into sight: an archive that hides cannot go back."""
    if op.get_bind().execute(sa.text('SELECT count(*) FROM hidden')).scalar_one():
        raise RuntimeError('instances are hidden; restore or remove them before the schema goes back')
    op.drop_table('rejection_notes')
    op.drop_table('hidden')
