"""Results as objects: when they were kept and which they are, what a model looked at, reruns, and which series we made

Revision 0012, after 0011.
"""

import sqlalchemy as sa
from alembic import op


revision = '0012'
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('series', sa.Column('made_here', sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column('results', sa.Column('reported_at', sa.BigInteger(), nullable=True))
    op.add_column('results', sa.Column('objects', sa.JSON(), nullable=True))
    # what was found before there were objects stays without
    op.execute('UPDATE results SET reported_at = created_at')
    op.create_index(
        'ix_results_unreported',
        'results',
        ['created_at'],
        unique=False,
        sqlite_where=sa.text('reported_at IS NULL'),
        postgresql_where=sa.text('reported_at IS NULL'),
    )
    op.create_table('result_inputs',
    sa.Column('result_id', sa.String(length=32), nullable=False),
    sa.Column('instances', sa.LargeBinary(), nullable=False),
    sa.ForeignKeyConstraint(
        ['result_id'], ['results.id'], name=op.f('fk_result_inputs_result_id'), ondelete='CASCADE'
    ),
    sa.PrimaryKeyConstraint('result_id', name=op.f('pk_result_inputs'))
    )
    op.create_table('reruns',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('result_id', sa.String(length=32), nullable=False),
    sa.Column('asked_at', sa.BigInteger(), nullable=False),
    sa.Column('asked_by', sa.Text(), nullable=False),
    sa.Column('began_at', sa.BigInteger(), nullable=True),
    sa.Column('ended_at', sa.BigInteger(), nullable=True),
    sa.Column('answer', sa.JSON(), nullable=True),
    sa.ForeignKeyConstraint(['result_id'], ['results.id'], name=op.f('fk_reruns_result_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_reruns'))
    )
    op.create_index(op.f('ix_reruns_result_id'), 'reruns', ['result_id'], unique=False)
    op.create_index('ix_reruns_ended_at_asked_at', 'reruns', ['ended_at', 'asked_at'], unique=False)


def downgrade() -> None:
    op.drop_table('reruns')
    op.drop_table('result_inputs')
    op.drop_index('ix_results_unreported', table_name='results')
    op.drop_column('results', 'objects')
    op.drop_column('results', 'reported_at')
    op.drop_column('series', 'made_here')
