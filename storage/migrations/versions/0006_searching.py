"""Searching: names folded anew, texts found by a part of them, and answers in the order of an index

Revision 0006, after 0005.
"""

from collections.abc import Callable

import sqlalchemy as sa
from alembic import op

from storage.names import fold, order_of


revision = '0006'
down_revision = "0005"
branch_labels = None
depends_on = None

BATCH = 5000
MOST_LETTERS = 256

NAMES = (
    (0x00100010, 'patient_name_folded'),
    (0x00080090, 'referring_physician_name_folded'),
)
TEXTS = (
    (0x00100020, 'patient_id'),
    (0x00080050, 'accession_number'),
    (0x00081030, 'study_description'),
)
COLUMNS = ', '.join(['study_date', *(column for _, column in (*NAMES, *TEXTS))])
WHEN_TOLD = f"WHEN (coalesce({', '.join(f'NEW.{column}' for _, column in (*NAMES, *TEXTS))}) IS NOT NULL)"
BYTEWISE = (
    'patient_id', 'patient_name_folded', 'study_date', 'study_time', 'accession_number', 'modalities',
)


def upgrade() -> None:
    bind = op.get_bind()
    postgres = bind.dialect.name == 'postgresql'
    text = sa.Text(collation='C') if postgres else sa.Text()
    op.add_column('studies', sa.Column('referring_physician_name_folded', text, nullable=True))
    op.add_column('studies', sa.Column('patient_name_order', text, nullable=True))
    _fold_anew(bind)
    op.drop_index('ix_studies_patient_name_folded', table_name='studies')
    op.drop_index('ix_studies_study_date', table_name='studies')
    if postgres:
        types = ', '.join(f'ALTER COLUMN {name} TYPE text COLLATE "C"' for name in BYTEWISE)
        op.execute(f'ALTER TABLE studies {types}')
        # as the answers are ordered: the newest first, those without a date last
        op.execute(
            'CREATE INDEX ix_studies_study_date_id ON studies (study_date NULLS FIRST, id) INCLUDE (patient_name_folded)'
        )
        op.execute(
            'CREATE INDEX ix_studies_modalities_study_date_id ON studies (modalities, study_date NULLS FIRST, id)'
        )
    else:
        op.create_index('ix_studies_study_date_id', 'studies', ['study_date', 'id', 'patient_name_folded'])
        op.create_index('ix_studies_modalities_study_date_id', 'studies', ['modalities', 'study_date', 'id'])
    op.create_index('ix_studies_patient_name_order_id', 'studies', ['patient_name_order', 'id'])
    op.create_table('study_texts',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('study_pk', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('tag', sa.Integer(), nullable=False),
    sa.Column('text', text, nullable=False),
    sa.Column('study_date', text, nullable=True),
    sa.ForeignKeyConstraint(
        ['study_pk'], ['studies.id'], name=op.f('fk_study_texts_study_pk'), ondelete='CASCADE'
    ),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_study_texts'))
    )
    (_keep_texts_on_postgres if postgres else _keep_texts_on_sqlite)(bind)
    op.create_index(op.f('ix_study_texts_study_pk'), 'study_texts', ['study_pk'])
    op.create_index('ix_study_texts_tag_text', 'study_texts', ['tag', 'text', 'study_date', 'study_pk'])


def _fold_anew(bind: sa.Connection) -> None:
    made = ('patient_name_folded', 'patient_name_order', 'referring_physician_name_folded')
    studies = sa.table('studies', *map(sa.column, ('id', 'patient_name', 'referring_physician_name', *made)))
    page = sa.select(studies).where(studies.c.id > sa.bindparam('after')).order_by(studies.c.id).limit(BATCH)
    change = sa.update(studies).where(studies.c.id == sa.bindparam('pk')).values(
        patient_name_folded=sa.bindparam('patient'),
        patient_name_order=sa.bindparam('place'),
        referring_physician_name_folded=sa.bindparam('referring'),
    )
    after = 0
    while rows := bind.execute(page, {'after': after}).all():
        after = rows[-1].id
        folded = [
            {
                'pk': row.id,
                'patient': _made(fold, row.patient_name),
                'place': _made(order_of, row.patient_name),
                'referring': _made(fold, row.referring_physician_name),
            }
            for row in rows
        ]
        bind.execute(change, folded)


def _made(make: Callable[[str], str], name: str | None) -> str | None:
    return None if name is None else make(name)


def _texts(groups: str, study: str) -> str:
    """Give the select of a study's texts; `groups` is the part of it that divides a name."""
    names = [
        f"SELECT {study}.id, {study}.study_date, {tag}, one.value "
        f"FROM {groups.format(column=f'{study}.{column}')} WHERE one.value <> ''"
        for tag, column in NAMES
    ]
    plain = [
        f"SELECT {study}.id, {study}.study_date, {tag}, substr({study}.{column}, 1, {MOST_LETTERS}) "
        f"WHERE {study}.{column} <> ''"
        for tag, column in TEXTS
    ]
    return ' UNION ALL '.join([*names, *plain])


INTO = 'INSERT INTO study_texts (study_pk, study_date, tag, text) '
SQLITE_GROUPS = "json_each('[' || replace(json_quote({column}), '=', '\",\"') || ']') AS one"
POSTGRES_GROUPS = "unnest(string_to_array({column}, '=')) AS one (value)"


def _keep_texts_on_sqlite(bind: sa.Connection) -> None:
    for tag, column in NAMES:
        groups = SQLITE_GROUPS.format(column=f'studies.{column}')
        bind.exec_driver_sql(
            f"{INTO} SELECT studies.id, studies.study_date, {tag}, one.value FROM studies, {groups} "
            "WHERE one.value <> ''"
        )
    for tag, column in TEXTS:
        bind.exec_driver_sql(
            f"{INTO} SELECT id, study_date, {tag}, substr({column}, 1, {MOST_LETTERS}) FROM studies "
            f"WHERE {column} <> ''"
        )
    texts = f'{INTO} {_texts(SQLITE_GROUPS, "NEW")};'
    bind.exec_driver_sql(f'CREATE TRIGGER study_texts_new AFTER INSERT ON studies {WHEN_TOLD} BEGIN {texts} END')
    bind.exec_driver_sql(
        f'CREATE TRIGGER study_texts_told AFTER UPDATE OF {COLUMNS} ON studies '
        f'BEGIN DELETE FROM study_texts WHERE study_pk = NEW.id; {texts} END'
    )
    _trigrams_on_sqlite(bind)


def _trigrams_on_sqlite(bind: sa.Connection) -> None:
    """Lay the index of trigrams, where this SQLite has one: 3.34 or newer, with FTS5."""
    try:
        bind.exec_driver_sql(
            'CREATE VIRTUAL TABLE study_texts_trigrams USING fts5 '
            "(text, content='study_texts', content_rowid='id', tokenize='trigram case_sensitive 1')"
        )
    except sa.exc.OperationalError:  # no such module, no such tokenizer
        return
    bind.exec_driver_sql("INSERT INTO study_texts_trigrams (study_texts_trigrams) VALUES ('rebuild')")
    bind.exec_driver_sql(
        'CREATE TRIGGER study_texts_indexed AFTER INSERT ON study_texts '
        'BEGIN INSERT INTO study_texts_trigrams (rowid, text) VALUES (NEW.id, NEW.text); END'
    )
    bind.exec_driver_sql(
        'CREATE TRIGGER study_texts_forgotten AFTER DELETE ON study_texts '
        'BEGIN INSERT INTO study_texts_trigrams (study_texts_trigrams, rowid, text) '
        "VALUES ('delete', OLD.id, OLD.text); END"
    )


def _keep_texts_on_postgres(bind: sa.Connection) -> None:
    for tag, column in NAMES:
        groups = POSTGRES_GROUPS.format(column=f'studies.{column}')
        op.execute(
            f"{INTO} SELECT studies.id, studies.study_date, {tag}, one.value FROM studies, {groups} "
            "WHERE one.value <> ''"
        )
    for tag, column in TEXTS:
        op.execute(
            f"{INTO} SELECT id, study_date, {tag}, substr({column}, 1, {MOST_LETTERS}) FROM studies "
            f"WHERE {column} <> ''"
        )
    op.execute(f"""
        CREATE FUNCTION keep_study_texts() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'UPDATE' THEN
                DELETE FROM study_texts WHERE study_pk = NEW.id;
            END IF;
            {INTO} {_texts(POSTGRES_GROUPS, 'NEW')};
            RETURN NULL;
        END $$
    """)
    for name, event, when in (('new', 'INSERT', WHEN_TOLD), ('told', f'UPDATE OF {COLUMNS}', '')):
        op.execute(
            f'CREATE TRIGGER study_texts_{name} AFTER {event} ON studies '
            f'FOR EACH ROW {when} EXECUTE FUNCTION keep_study_texts()'
        )
    _trigrams_on_postgres(bind)


def _trigrams_on_postgres(bind: sa.Connection) -> None:
    """Lay the index of trigrams, where pg_trgm is installed and this role may create it."""
    try:
        with bind.begin_nested():
            op.execute('CREATE EXTENSION IF NOT EXISTS pg_trgm')
    except sa.exc.DBAPIError:  # not on this server, or not for this role
        return
    for name, of in (('patients', f'tag = {NAMES[0][0]}'), ('others', f'tag <> {NAMES[0][0]}')):
        op.execute(
            f'CREATE INDEX ix_study_texts_trigrams_{name} ON study_texts USING gin (text gin_trgm_ops) '
            f'WITH (gin_pending_list_limit = 256) WHERE {of}'
        )


def downgrade() -> None:
    bind = op.get_bind()
    if bind.dialect.name == 'postgresql':
        op.execute('DROP TRIGGER study_texts_new ON studies')
        op.execute('DROP TRIGGER study_texts_told ON studies')
        op.execute('DROP FUNCTION keep_study_texts')
    else:
        for trigger in ('study_texts_new', 'study_texts_told', 'study_texts_indexed', 'study_texts_forgotten'):
            bind.exec_driver_sql(f'DROP TRIGGER IF EXISTS {trigger}')
        bind.exec_driver_sql('DROP TABLE IF EXISTS study_texts_trigrams')
    op.drop_table('study_texts')
    op.drop_index('ix_studies_patient_name_order_id', table_name='studies')
    op.drop_index('ix_studies_modalities_study_date_id', table_name='studies')
    op.drop_index('ix_studies_study_date_id', table_name='studies')
    op.create_index('ix_studies_study_date', 'studies', ['study_date'])
    op.create_index('ix_studies_patient_name_folded', 'studies', ['patient_name_folded'])
    op.drop_column('studies', 'referring_physician_name_folded')
    op.drop_column('studies', 'patient_name_order')
