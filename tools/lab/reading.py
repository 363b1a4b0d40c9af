"""How the rows of a table are asked for, and what is written of the answers."""

import json
import re

from cassandra import InvalidRequest
from cassandra.protocol import ProtocolHandler, _ProtocolHandler


def tables(session):
    names = session.execute("SELECT table_name FROM system_schema.tables WHERE keyspace_name = 'lab'")
    for (table,) in sorted(names):
        columns = session.execute("SELECT column_name, kind, position, type FROM system_schema.columns "
                                  "WHERE keyspace_name = 'lab' AND table_name = %s", (table,))
        yield table, sorted(columns, key=lambda c: (c.kind != "partition_key", c.kind != "clustering", c.position, c.column_name))


def selections(session, table, columns):
    """Key columns as JSON, then every write time and TTL that this version of Cassandra permits: label and expression."""
    chosen = [(label(c.column_name), f"toJson({quote(c.column_name)})") for c in columns
              if c.kind in ("partition_key", "clustering")]
    for column in columns:
        for function in ("writetime", "ttl"):
            call = f"{function}({quote(column.column_name)})"
            try:
                session.execute(f"SELECT {call} FROM lab.{quote(table)} LIMIT 1")
                chosen.append((label(f"{function}({column.column_name})"), call))
            except InvalidRequest:  # keys, counters, and collections before 5.0
                pass
    return chosen


def label(name):
    """A column's name as SELECT JSON spells it."""
    return json.dumps(name if name == name.lower() else f'"{name}"')


def rows_as_json(row):
    return row[0]


class TimesAsJson:
    """SELECT JSON itself fails on a list of TTLs with a null in it, so the object is put together here."""

    def __init__(self, columns):
        self.labels = [label for label, _ in columns]
        self.keys = sum(expression.startswith("toJson(") for _, expression in columns)

    def __call__(self, row):
        values = [*(value or "null" for value in row[:self.keys]), *map(json.dumps, row[self.keys:])]
        return "{" + ", ".join(f"{label}: {value}" for label, value in zip(self.labels, values)) + "}"


def with_doubles(session, columns):
    """Names of the columns whose values have a float or a double somewhere inside."""
    types = {row.type_name: str(row.field_types) for row in
             session.execute("SELECT type_name, field_types FROM system_schema.types WHERE keyspace_name = 'lab'")}

    def inside(kind):
        words = set(re.findall(r"\w+", kind))
        return words & {"float", "double"} or any(inside(types[word]) for word in words & types.keys())

    return [c.column_name for c in columns if inside(c.type)]


def quote(name):
    return '"' + name.replace('"', '""') + '"'


def lines(session, query, values, as_json):
    """The rows of an answer, one JSON object each."""
    # The compiled decoder refuses a list with a null in it, which only the times hold.
    session.client_protocol_handler = ProtocolHandler if as_json is rows_as_json else _ProtocolHandler
    for row in session.execute(query, values):
        yield as_json(row)
