"""How studies of a sender end: their pauses, and what was learned of them; runs on a part of a series

Revision 0007, after 0006.
"""

import sqlalchemy as sa
from alembic import op


revision = '0007'
down_revision = "0006"
branch_labels = None
depends_on = None

BEFORE = ('study_pk', 'revision', 'model_digest')
AFTER = (*BEFORE, 'provisional')


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
    op.add_column('results', sa.Column('provisional', sa.Integer(), nullable=True))
    op.add_column('jobs', sa.Column('provisional', sa.Integer(), nullable=False, server_default='0'))
    _unique_jobs(BEFORE, AFTER)


def _unique_jobs(before: tuple[str, ...], after: tuple[str, ...]) -> None:
    """Change what makes a job unique.

    SQLite makes the table anew for that, which it does only while no result refers to a job.
    """
    bind = op.get_bind()
    on_sqlite = bind.dialect.name == 'sqlite'
    if on_sqlite:
        op.execute('CREATE TEMPORARY TABLE results_kept AS SELECT * FROM results')
        op.execute('DELETE FROM results')
    with op.batch_alter_table('jobs') as jobs:
        jobs.drop_constraint(f"uq_jobs_{'_'.join(before)}", type_='unique')
        jobs.create_unique_constraint(f"uq_jobs_{'_'.join(after)}", list(after))
    if on_sqlite:
        op.execute('INSERT INTO results SELECT * FROM results_kept')
        op.execute('DROP TABLE results_kept')


def downgrade() -> None:
    op.execute('DELETE FROM results WHERE provisional IS NOT NULL')
    op.execute('DELETE FROM jobs WHERE provisional <> 0')
    _unique_jobs(AFTER, BEFORE)
    op.drop_column('jobs', 'provisional')
    op.drop_column('results', 'provisional')
    op.drop_table('silences')
    op.drop_column('studies', 'completion_probability')
    op.drop_column('studies', 'pauses')
