"""Statements that the driver runs itself: for the few that every arriving instance needs.

SQLAlchemy still writes the SQL, once for each database, and its types still convert the values.  What is left out is
what it does around every execution, which takes longer than SQLite takes to run a statement.
"""

from __future__ import annotations

from collections import namedtuple
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import orjson
import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sqlalchemy.engine import Dialect
    from sqlalchemy.sql.compiler import SQLCompiler
    from sqlalchemy.types import TypeEngine

    Convert = Callable[[Any], Any]

    from storage.database import Transaction


class Statement:
    """One statement, compiled when a database first needs it.  Takes part in the transaction it is run in.

    Every value that is not always the same has to be a named `sa.bindparam`: defaults of columns are not looked up.
    """

    def __init__(self, statement: sa.sql.expression.ClauseElement) -> None:
        self._statement = statement
        self._compiled: dict[str, _Compiled] = {}

    def run(self, tx: Transaction, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run once for each of `rows`."""
        compiled = self._for(tx.dialect)
        values: Any = [compiled.values(row) for row in rows]
        tx.connection.cursor().executemany(compiled.sql, values)

    def rows(self, tx: Transaction, values: Mapping[str, Any]) -> list[Any]:
        """Run and return all rows, as named tuples."""
        compiled = self._for(tx.dialect)
        cursor = tx.connection.cursor()
        cursor.execute(compiled.sql, compiled.values(values))
        return compiled.read(cursor.fetchall())

    def _for(self, dialect: Dialect) -> _Compiled:
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = self._compiled[dialect.name] = _Compiled(self._statement, dialect)
        return compiled


class _Compiled:
    """A statement in one database's SQL, and how values go in and come out."""

    def __init__(self, statement: sa.sql.expression.ClauseElement, dialect: Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect)
        self.sql = str(compiled)
        binds = {name: bind for bind, name in compiled.bind_names.items()}
        names = compiled.positiontup or list(binds)
        self._names = names
        self._pick = _picker([binds[name].key for name in names])
        self._always = {bind.key: bind.effective_value for bind in binds.values() if not bind.required}
        into = [_into(binds[name].type, dialect) for name in names]
        self._into = [(place, convert) for place, convert in enumerate(into) if convert is not None]
        self._by_position = compiled.positiontup is not None
        columns = list(getattr(statement, "exported_columns", ()))
        self._row = _row_type([column.key for column in columns])
        out_of = [_out_of(column.type, dialect) for column in columns]
        self._out_of = [(place, convert) for place, convert in enumerate(out_of) if convert is not None]

    def values(self, given: Mapping[str, Any]) -> Sequence[Any] | Mapping[str, Any]:
        """Give the values as the driver wants them."""
        values = list(self._pick({**self._always, **given} if self._always else given))
        for place, convert in self._into:
            values[place] = convert(values[place])
        return values if self._by_position else dict(zip(self._names, values, strict=True))

    def read(self, found: Iterable[Sequence[Any]]) -> list[Any]:
        """Give the driver's rows with their names and types."""
        if not self._out_of:
            return list(map(self._row._make, found))
        rows = []
        for each in found:
            row = list(each)
            for place, convert in self._out_of:
                row[place] = convert(row[place])
            rows.append(self._row(*row))
        return rows


def _row_type(names: Sequence[str]) -> Any:  # noqa: ANN401 - a class of its own for every statement
    return namedtuple("Row", names)


def _picker(keys: Sequence[str]) -> Callable[[Mapping[str, Any]], Sequence[Any]]:
    """Return what takes the values of several keys out of a mapping at once."""
    if len(keys) == 1:
        return lambda given: (given[keys[0]],)
    return itemgetter(*keys) if keys else lambda _: ()


def _into(kind: TypeEngine[Any], dialect: Dialect) -> Convert | None:
    return kind.dialect_impl(dialect).bind_processor(dialect)


def _out_of(kind: TypeEngine[Any], dialect: Dialect) -> Convert | None:
    if isinstance(kind, sa.Float):
        return None  # both drivers give floats
    return kind.dialect_impl(dialect).result_processor(dialect, None)


def bound(table: sa.Table, *, but: Iterable[str] = ()) -> dict[str, sa.BindParameter[Any]]:
    """Give the values of an insert: a parameter for every column `but` some, under its name."""
    return {column.key: sa.bindparam(column.key) for column in table.c if column.key not in but}


# ------------------------------------------------------------------------------------------ many numbers in one row
def at_once(numbers: sa.Select[Any], dialect: str) -> Statement:
    """Return the statement that gives what `numbers` selects, one column of integers, as one list in one row.

    Both databases list them in the order of the subquery.
    """
    each = numbers.subquery()
    [column] = each.c
    listed = sa.func.json_group_array(column, type_=_Listed()) if dialect == "sqlite" else sa.func.array_agg(column)
    return Statement(sa.select(listed.label("numbers")).select_from(each))


class _Listed(sa.types.TypeDecorator[list[int]]):
    """Numbers as SQLite's JSON."""

    impl = sa.Text
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:  # noqa: ANN401, ARG002
        return orjson.loads(value)


# ------------------------------------------------------------------------------------------- one of several values
class _Members(sa.types.TypeDecorator[list[str]]):
    """Several texts in one parameter: JSON where there are no arrays."""

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        is_postgres = dialect.name == "postgresql"
        return dialect.type_descriptor(sa.ARRAY(sa.Text()) if is_postgres else sa.Text())

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:  # noqa: ANN401
        return list(value) if dialect.name == "postgresql" else orjson.dumps(list(value)).decode()


class among(sa.sql.expression.ColumnElement[bool]):  # noqa: N801 - reads as the operator it is
    """Whether a text column holds one of the values bound under `name`; one statement for any number of them."""

    inherit_cache = False

    def __init__(self, column: sa.ColumnElement[Any], name: str) -> None:
        self.column = column
        self.members = sa.bindparam(name, type_=_Members())


@compiles(among, "sqlite")
def _among_json(element: among, compiler: SQLCompiler, **_: Any) -> str:  # noqa: ANN401
    column, members = compiler.process(element.column), compiler.process(element.members)
    return f"{column} IN (SELECT value FROM json_each({members}))"  # noqa: S608 - of compiled parts


@compiles(among, "postgresql")
def _among_array(element: among, compiler: SQLCompiler, **_: Any) -> str:  # noqa: ANN401
    return f"{compiler.process(element.column)} = ANY ({compiler.process(element.members)})"
