"""What restored replicas are judged by: the cluster's own answers, sstabledump of a twin, and writes around deletions.

The twin is one node into which the files of all replicas were imported and compacted (`reconcile`).
"""

import itertools
import json
import re
import tempfile
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path

from cassandra import ConsistencyLevel
from cassandra.concurrent import execute_concurrent
from cassandra.protocol import _ProtocolHandler

import dumps
from compare import SLACK, differences, parse
from nodes import connect, disconnect, many
from reading import TimesAsJson, lines, quote, rows_as_json, selections, tables

SHOWN = 5  # differences told per table and node
POSITIONS = 24  # clusterings probed in one partition
PARTITIONS = 40  # probed in one table
# What the twin cannot answer as a read at ALL does: two expiring cells of equal write time, of which one was over on its
# replica, meet unexpired in one node (README.md, "Traps met").
TWIN_DIFFERS = {("ties", ("9",))}


class Table:
    """One table: how it is asked for, and what the truth says of it."""

    def __init__(self, session, name, columns, capture):
        self.name = name
        self.columns = columns
        self.keys = [c for c in columns if c.kind == "partition_key"]
        self.token = "token(" + ", ".join(quote(c.column_name) for c in self.keys) + ")"
        self.times = selections(session, name, columns)
        self.tokens = {}
        select = ", ".join([self.token, *(f"toJson({quote(c.column_name)})" for c in self.keys)])
        for token, *key in session.execute(f"SELECT {select} FROM lab.{quote(name)}"):
            found = self.tokens.setdefault(repr([parse(part) for part in key]), [])
            if token not in found:  # a varint under two spellings is two partitions, which look alike
                found.append(token)
        truth = capture / "truth"
        self.truth = []
        turns, before = Counter(), None
        alone = not any(c.kind == "clustering" for c in columns)  # then every row is a partition, even beside one that looks alike
        if (truth / f"lab.{name}.rows.jsonl").exists():
            with open(truth / f"lab.{name}.rows.jsonl") as rows, open(truth / f"lab.{name}.times.jsonl") as times:
                counters = any(c.type == "counter" for c in columns)
                for row, when in self.of_first_read(rows, times) if counters else zip(rows, times, strict=True):
                    whole = {**parse(row), **parse(when)}
                    key = repr([whole[name_in_json(c.column_name)] for c in self.keys])
                    if key not in self.tokens:
                        raise SystemExit(f"lab.{name}: the twin does not have {key}")
                    turns[key] += alone or key != before
                    before = key
                    self.truth.append((self.tokens[key][turns[key] - 1], whole))

    def of_first_read(self, rows, times):
        """The rows of the first read at ALL with the times of the second; without them where the second had deleted counters besides
        (README.md, "Traps met"), and so the times of these."""
        keys = [name_in_json(c.column_name) for c in self.columns if c.kind in ("partition_key", "clustering")]
        second = {repr([when[name] for name in keys]): line for line, when in ((line, parse(line)) for line in times)}
        rows = list(rows)
        alike = len(rows) == len(second)
        for line in rows:
            yield line, second[repr([parse(line)[name] for name in keys])] if alike else "{}"


def name_in_json(name):
    return name if name == name.lower() else f'"{name}"'


def learn(twin_node, capture):
    """The tables, as the twin has them."""
    session = connect(twin_node)
    session.client_protocol_handler = _ProtocolHandler
    found = [Table(session, name, columns, capture) for name, columns in tables(session)]
    disconnect(session)
    return found


def ask(session, table, pieces):
    """All rows of a table within token ranges, with their times, when these were asked for, and how long that took."""
    for low, high in pieces:
        where = f"FROM lab.{quote(table.name)} WHERE {table.token} > %s AND {table.token} <= %s"
        rows = lines(session, f"SELECT JSON * {where}", (low, high), rows_as_json)
        whole = [parse(row) for row in rows]
        columns = ", ".join(expression for _, expression in table.times)
        asked = time.time()
        times = [*lines(session, f"SELECT {columns} {where}", (low, high), TimesAsJson(table.times))]
        took = time.time() - asked
        for row, when in zip(whole, times, strict=True):
            yield {**row, **parse(when)}, asked, took


def rows(target, table, meta, node, session):
    """Compares one node's own rows with the truth's rows that it replicates. Returns how many, and what differs."""
    expected = (row for token, row in table.truth if target.owns(node, token))
    count, wrong = 0, []
    found = ask(session, table, target.ranges[node])
    for truth, (ours, asked, took) in itertools.zip_longest(expected, found, fillvalue=(None, 0, 0)):
        truth = None if truth == (None, 0, 0) else truth
        count += 1
        names = sorted(differences(truth, ours, meta, asked, SLACK + took)) if truth and ours else ["the row"]
        if names:
            wrong.append(f"lab.{table.name} on node {node}: {', '.join(names)}\n  truth {show(truth)}\n  ours  {show(ours)}")
    return count, wrong


def show(value):
    return whole_text(value)[:800]


def whole_text(value):
    return json.dumps(value, default=str, ensure_ascii=False)


def dump(version, folders):
    """sstabledump of the tables' files: text by table. All files of one table are partitions of one dump."""
    with tempfile.TemporaryDirectory() as out:
        calls = [("dump", data, f"{out}/{name}.{data.name}") for name, folder in folders.items()
                 for data in sorted(folder.glob("*-Data.db"))]
        many(version, calls)
        found = {name: "" for name in folders}
        for _, data, path in calls:
            # Its last line has no end.
            found[Path(path).name.removesuffix(f".{data.name}")] += Path(path).read_text().rstrip("\n") + "\n"
        return found


def with_tokens(table, text, owned=lambda token: True):
    """The partitions of a dump of a node that replicates these tokens, with their tokens, in the order of the ring."""
    kinds = [c.type for c in table.keys]
    found = []
    turns = Counter()
    for key, content in dumps.partitions(text):
        token = dumps.token(kinds, key)
        if kinds == ["varint"]:  # under two spellings it is two partitions, which a dump does not tell apart: the twin says which is where
            known = [each for each in table.tokens.get(repr([parse(key[0])]), ()) if owned(each)]
            token = known[turns[key]] if turns[key] < len(known) else token
            turns[key] += 1
        found.append((token, key, content))
    return sorted(found, key=lambda each: each[0])


def compare_dumps(target, node, table, twin, ours):
    expected = [each for each in with_tokens(table, twin) if target.owns(node, each[0])]
    found = with_tokens(table, ours, lambda token: target.owns(node, token))
    wrong = []
    by_token = {token: (key, content) for token, key, content in found}
    for token, key, content in expected:
        there = by_token.pop(token, (key, ["no such partition"]))[1]
        if content != there and (table.name, key) not in TWIN_DIFFERS:
            missing = [line for line in content if line not in there]
            extra = [line for line in there if line not in content]
            wrong.append(f"lab.{table.name} on node {node}, partition {key}\n  twin {missing[:6]}\n  ours {extra[:6]}")
    wrong += [f"lab.{table.name} on node {node}: partition {key} is not the twin's\n  ours {content[:4]}"
              for key, content in by_token.values()]
    return len(expected), wrong


def literal(kind, value):
    """A CQL literal of what a dump shows, or None where this program knows no spelling."""
    if kind in ("int", "bigint", "smallint", "varint", "decimal"):
        return str(value)
    if kind in ("text", "timestamp", "date"):
        return "'" + str(value).replace("'", "''") + "'"
    return None


class Probe:
    """Writes into one partition of which something is deleted: one after another, at ts-1, ts, ts+1 of each deletion."""

    def __init__(self, table, token, key, text):
        self.table, self.token = table, token
        names = [quote(c.column_name) for c in table.keys]
        self.where = " AND ".join(f"{name} = {literal(c.type, part)}" for name, c, part in zip(names, table.keys, key))
        self.deletions = dumps.times(text)
        self.times = sorted({at + step for at in self.deletions for step in (-1, 0, 1)})
        self.positions = self.find_positions(text)

    def find_positions(self, text):
        """Clusterings: of deleted rows and cells, at the bounds of deleted ranges and beside them."""
        kinds = [c for c in self.table.columns if c.kind == "clustering"]
        if not kinds:
            return [""]
        mentioned, plain, head = [], [], None
        for line in text:
            if line.startswith("range"):
                mentioned += [json.loads(each) for each in re.findall(r"\[[^]]*\]", line)]
            elif line.startswith("row"):
                head = json.JSONDecoder(parse_float=Decimal).raw_decode(line[4:])[0]
                (mentioned if "deleted" in line else plain).append(head)
            elif ("tombstone" in line or "deleted" in line) and head is not None:
                mentioned.append(head)
        seen = [sorted({part[at] for part in mentioned + plain if len(part) > at and part[at] != "*"}, key=str)
                for at in range(len(kinds))]
        found = {}
        for clustering in mentioned + plain[:4]:
            clustering = [part for part in clustering if part != "*"]
            steps = (0, -1, 1) if clustering and kinds[len(clustering) - 1].type in ("int", "varint") else (0,)
            for step in steps:
                head = [*clustering[:-1], int(clustering[-1]) + step] if step else clustering
                for rest in itertools.islice(itertools.product(*seen[len(head):]), 3):
                    literals = [literal(c.type, value) for c, value in zip(kinds, [*head, *rest])]
                    if None not in literals and len(literals) == len(kinds):
                        found["".join(f" AND {quote(c.column_name)} = {text}" for c, text in zip(kinds, literals))] = True
        found = list(found)
        return found[::max(1, len(found) // POSITIONS)]

    def statements(self, round_):
        """What is written in one round, at the round's time."""
        if round_ >= len(self.times):
            return
        for static in (True, False):
            changes = [change for c in self.table.columns if (c.kind == "static") == static
                       for change in self.change(c, round_)]
            if changes:
                for position in [""] if static else self.positions:
                    # A default TTL would count from the moment of the write, which is another on the twin.
                    yield (f"UPDATE lab.{quote(self.table.name)} USING TIMESTAMP {self.times[round_]} AND TTL 0 "
                           f"SET {', '.join(changes)} WHERE {self.where}{position}")

    @staticmethod
    def change(column, round_):
        if column.kind not in ("regular", "static"):
            return
        name, kind = quote(column.column_name), column.type
        values = {"int": str(round_), "text": f"'probe {round_}'", "map<text, text>": "'a'", "map<text, int>": "'a'"}
        if kind in ("int", "text"):
            yield f"{name} = {values[kind]}"
        elif kind in ("map<text, text>", "map<text, int>"):
            value = values["text" if kind.endswith("text>") else "int"]
            yield f"{name}['a'] = {value}"
            yield f"{name}['probe'] = {value}"
        elif kind == "set<text>":
            yield f"{name} = {name} + {{'probe', 'a'}}"


def probes(found_tables, twin_dumps):
    found = []
    for table in found_tables:
        if any(c.type == "counter" for c in table.columns) or any(literal(c.type, "1") is None for c in table.keys):
            continue
        here = []
        for token, key, text in with_tokens(table, twin_dumps[table.name]):
            if dumps.times(text) and (table.name, key) not in TWIN_DIFFERS:
                probe = Probe(table, token, key, text)
                if any(probe.statements(0)):
                    here.append(probe)
        found += here[::max(1, len(here) // PARTITIONS)]
    return found


def answer(session, probe):
    query = f"FROM lab.{quote(probe.table.name)} WHERE {probe.where}"
    times = [(label, expression) for label, expression in probe.table.times if "ttl(" not in label]
    columns = ", ".join(expression for _, expression in times)
    # Parsed: of clusterings that are equal in value, a node may show either spelling.
    return ([parse(row) for row in lines(session, f"SELECT JSON * {query}", None, rows_as_json)],
            [parse(row) for row in lines(session, f"SELECT {columns} {query}", None, TimesAsJson(times))])


def compare_probes(target, twin_node, found):
    """Writes into both clusters and asks every replica by itself. Returns how many answers were compared, and what differs."""
    writers = [connect(target.nodes[0], ConsistencyLevel.ALL), connect(twin_node, ConsistencyLevel.ALL)]
    count, wrong = 0, []
    for round_ in range(max((len(probe.times) for probe in found), default=0)):
        active = [probe for probe in found if round_ < len(probe.times)]
        statements = [statement for probe in active for statement in probe.statements(round_)]
        for writer in writers:
            answers = execute_concurrent(writer, [(each, None) for each in statements], concurrency=16, raise_on_first_error=False)
            for statement, (done, answered) in zip(statements, answers):
                if not done:
                    raise SystemExit(f"{statement}: {answered}")
        more, differing = compare_answers(target, twin_node, active)
        count += more
        wrong += [f"after writes of round {round_}: {each}" for each in differing]
    for session in writers:
        disconnect(session)
    return count, wrong


def whole(node, found):
    """All that a node answers by itself about every table, but for the seconds to live."""
    session = connect(node)
    answers = {}
    for table in found:
        query = f"FROM lab.{quote(table.name)}"
        times = [(label, expression) for label, expression in table.times if "ttl(" not in label]
        columns = ", ".join(expression for _, expression in times)
        answers[table.name] = [by_value(table, line) for line in (
            *lines(session, f"SELECT JSON * {query}", None, rows_as_json),
            *lines(session, f"SELECT {columns} {query}", None, TimesAsJson(times)))]
    disconnect(session)
    return answers


def by_value(table, line):
    """A line of an answer; clusterings that are equal in value are one row, under either spelling (1.0, 1.00), so they have one here."""
    names = [c.column_name for c in table.columns if c.kind == "clustering" and c.type == "decimal"]
    if not names:
        return line
    row = parse(line)
    return whole_text({**row, **{name: Decimal(row[name]).normalize() for name in names}})


def same(twin, ours):
    """Compares what two nodes answered. Returns how many rows, and what differs."""
    wrong = [f"lab.{name}: {len(set(ours[name]) ^ set(answers))} lines differ, such as\n  twin {sorted(set(answers) - set(ours[name]))[:2]}"
             f"\n  ours {sorted(set(ours[name]) - set(answers))[:2]}"
             for name, answers in twin.items() if ours[name] != answers and name != "ties"]
    return sum(map(len, twin.values())), wrong


def write_older(node, found):
    """Copies older than what was deleted: at each probe's positions, one microsecond before each deletion."""
    session = connect(node, ConsistencyLevel.ALL)
    for probe in found:
        for at in probe.deletions:
            for statement in probe.statements(probe.times.index(at - 1)):
                session.execute(statement)
    disconnect(session)


def compare_answers(target, twin_node, found):
    """What every replica by itself answers about the probed partitions, against the twin."""
    twin, count, wrong = connect(twin_node), 0, []
    readers = {node: connect(node) for node in target.nodes}
    for probe in found:
        expected = answer(twin, probe)
        for node, reader in readers.items():
            if target.owns(node, probe.token):
                count += 1
                ours = answer(reader, probe)
                if ours != expected:
                    wrong.append(f"lab.{probe.table.name}, {probe.where}, node {node}\n  twin {show(expected)}\n  ours {show(ours)}")
    for session in (*readers.values(), twin):
        disconnect(session)
    return count, wrong
