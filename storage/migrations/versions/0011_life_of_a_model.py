"""Life of a model at a site: the site's word, stops, opt-outs, permits, checks, operating points, incidents, retraction

Revision 0011, after 0010.
"""

import sqlalchemy as sa
from alembic import op


revision = '0011'
down_revision = "0010"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
TABLES = (
    'deployments', 'model_stops', 'model_opt_outs', 'model_permits', 'model_checks', 'model_operating_points',
    'model_incidents',
)
RETRACTION = ('retracted_at', 'retracted_by', 'retracted_why')


def upgrade() -> None:
    op.add_column('results', sa.Column('retracted_at', sa.BigInteger(), nullable=True))
    op.add_column('results', sa.Column('retracted_by', sa.Text(), nullable=True))
    op.add_column('results', sa.Column('retracted_why', sa.Text(), nullable=True))
    op.create_table('deployments',
    sa.Column('model_digest', sa.String(length=64), nullable=False),
    sa.Column('model_id', sa.Text(), nullable=False),
    sa.Column('model_version', sa.Text(), nullable=False),
    sa.Column('status', sa.String(length=16), nullable=False),
    sa.Column('mode', sa.String(length=16), nullable=True),
    sa.Column('check_id', sa.String(length=32), nullable=True),
    sa.Column('since', sa.BigInteger(), nullable=False),
    sa.Column('decided_by', sa.Text(), nullable=False),
    sa.Column('decided_why', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('model_digest', name=op.f('pk_deployments'))
    )
    op.create_index('ix_deployments_model_id', 'deployments', ['model_id'], unique=False)
    op.create_table('model_stops',
    sa.Column('model_id', sa.Text(), nullable=False),
    sa.Column('stopped_at', sa.BigInteger(), nullable=False),
    sa.Column('stopped_by', sa.Text(), nullable=False),
    sa.Column('stopped_why', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('model_id', name=op.f('pk_model_stops'))
    )
    text = sa.Text(collation='C') if op.get_bind().dialect.name == 'postgresql' else sa.Text()
    op.create_table('model_opt_outs',
    sa.Column('id', ID, nullable=False),
    sa.Column('patient_id', text, nullable=False),
    sa.Column('issuer_of_patient_id', sa.Text(), nullable=False),
    sa.Column('since', sa.BigInteger(), nullable=False),
    sa.Column('declared_by', sa.Text(), nullable=False),
    sa.Column('declared_why', sa.Text(), nullable=False),
    sa.Column('ended_at', sa.BigInteger(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_model_opt_outs')),
    sqlite_autoincrement=True
    )
    op.create_index(op.f('ix_model_opt_outs_patient_id'), 'model_opt_outs', ['patient_id'], unique=False)
    op.create_table('model_permits',
    sa.Column('id', ID, nullable=False),
    sa.Column('model_digest', sa.String(length=64), nullable=False),
    sa.Column('kind', sa.String(length=16), nullable=False),
    sa.Column('number', sa.Text(), nullable=False),
    sa.Column('statement_sha256', sa.String(length=64), nullable=True),
    sa.Column('signed_by', sa.Text(), nullable=False),
    sa.Column('signed_on', sa.String(length=10), nullable=False),
    sa.Column('expires_on', sa.String(length=10), nullable=True),
    sa.Column('recorded_at', sa.BigInteger(), nullable=False),
    sa.Column('recorded_by', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_model_permits')),
    sqlite_autoincrement=True
    )
    op.create_index(op.f('ix_model_permits_model_digest'), 'model_permits', ['model_digest'], unique=False)
    op.create_table('model_checks',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('model_digest', sa.String(length=64), nullable=False),
    sa.Column('passed', sa.Boolean(), nullable=False),
    sa.Column('figures', sa.JSON(), nullable=False),
    sa.Column('checked_at', sa.BigInteger(), nullable=False),
    sa.Column('checked_by', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_model_checks'))
    )
    op.create_index(op.f('ix_model_checks_model_digest'), 'model_checks', ['model_digest'], unique=False)
    op.create_table('model_operating_points',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('model_digest', sa.String(length=64), nullable=False),
    sa.Column('finding_code', sa.Text(), nullable=False),
    sa.Column('threshold', sa.Float(), nullable=False),
    sa.Column('figures', sa.JSON(), nullable=False),
    sa.Column('chosen_at', sa.BigInteger(), nullable=False),
    sa.Column('chosen_by', sa.Text(), nullable=False),
    sa.Column('ended_at', sa.BigInteger(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_model_operating_points'))
    )
    op.create_index(
        op.f('ix_model_operating_points_model_digest'), 'model_operating_points', ['model_digest'], unique=False
    )
    op.create_table('model_incidents',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('model_id', sa.Text(), nullable=False),
    sa.Column('model_digest', sa.String(length=64), nullable=False),
    sa.Column('result_id', sa.String(length=32), nullable=True),
    sa.Column('what', sa.Text(), nullable=False),
    sa.Column('frozen', sa.JSON(), nullable=False),
    sa.Column('known_at', sa.BigInteger(), nullable=False),
    sa.Column('recorded_at', sa.BigInteger(), nullable=False),
    sa.Column('recorded_by', sa.Text(), nullable=False),
    sa.Column('done', sa.JSON(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_model_incidents'))
    )


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
    for column in reversed(RETRACTION):
        op.drop_column('results', column)
