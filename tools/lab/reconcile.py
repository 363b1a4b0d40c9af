"""One node that holds all replicas of a capture, compacted: the reconciled copy as Cassandra itself would make it."""

import re
import shutil
import tempfile
import time
from pathlib import Path

import bulk
import features
from nodes import LAB, connect, disconnect, empty, many, tool


NODE = 4  # beside a cluster of three that may be running


def twin(capture):
    """The name of the single node that reads what this capture holds. Only one of mode NONE knows times after 2038."""
    origin = capture / "cluster.txt"
    if origin.exists() and origin.read_text().strip() in ("50oa", "50mixed"):
        return "50oaone"
    release = re.search(r"(\d)\.(\d)", (capture / "version.txt").read_text())
    return f"{release[1]}{release[2]}one"


def schema(capture):
    """The captured schema: statements before the data, the tables' folders (without views), statements after it."""
    plan = features.plan(twin(capture), scale=0)
    # A table's schema.cql does not name every type that its collections hold, so all types come first.
    before = [statement for statement in bulk.SCHEMA + plan.schema + plan.changes if statement.split()[1] == "TYPE"]
    names, after = [], []
    for name in sorted(folder.name for folder in (capture / "node1/lab").iterdir()):
        text = (capture / "node1/lab" / name / "schema.cql").read_text()
        text = re.sub(r"WITH ID = [0-9a-f-]+\s+AND", "WITH", text)  # or a node could not take it twice
        statements = [statement for statement in text.split(";\n") if statement.strip()]
        if "CREATE MATERIALIZED VIEW" in text:  # derived: importing the base tables would not fill it
            after += statements
            continue
        names.append(name)
        for statement in statements:
            (after if "INDEX" in statement.split("(")[0] else before).append(statement)
    return before, names, after


def reconcile(capture, answers=lambda table: False):
    """Imports the capture of every node into one node that has nothing else, and compacts. Returns that cluster's name and
    its tables' folders. A node that runs already is emptied: that is quicker than a start.

    `answers`: of tables that it says so of every node's files are compacted before they meet, so that they meet as replicas answer a read at ALL."""
    capture = Path(capture).resolve()
    version = twin(capture)
    if not empty(version, NODE):
        tool("wipe", version)
        tool("start", version)
    session = connect(NODE)
    session.execute("CREATE KEYSPACE lab WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 1}")
    before, names, _ = schema(capture)
    for statement in before:
        session.execute(statement)
    ids = {row.table_name: row.id.hex for row in session.execute("SELECT table_name, id FROM system_schema.tables WHERE keyspace_name = 'lab'")}
    data = LAB / "run" / version / f"node{NODE}/data/lab"
    places = {table: data / f"{table}-{id}" for table, id in ids.items()}
    with tempfile.TemporaryDirectory(dir=LAB) as merged:
        calls = []
        for name in names:
            table, folders = name.rsplit("-", 1)[0], folders_of(capture, name)
            if answers(table) or re.search(r"\bcounter\b", (capture / "node1/lab" / name / "schema.cql").read_text()):
                folders = node_by_node(session, version, table, folders, places[table], Path(merged))
            if folders:
                calls.append(("nodetool", NODE, "import", "--copy-data", "lab", table, *folders))
        many(version, [*calls, ("nodetool", NODE, "compact", "lab"), ("nodetool", NODE, "flush", "lab")])
    disconnect(session)
    return version, places


def node_by_node(session, version, table, folders, place, out):
    """The files of a table, each node's made one: returns their folders.

    Each node answers a read with its own cells merged. Of counters a deletion takes all or nothing: what one node deleted between
    two increments, another brings back whole; all files in one merge would lose the increments before the deletion. And each node
    answers with tombstones for what has expired, which win against cells of the same write time that have not.
    """
    found = []
    for node in sorted({re.search(r"/(node\d)/lab/", str(folder))[1] for folder in folders}):
        mine = [folder for folder in folders if f"/{node}/lab/" in str(folder)]
        many(version, [("nodetool", NODE, "import", "--copy-data", "lab", table, *mine), ("nodetool", NODE, "compact", "lab", table)])
        found.append(out / f"{table}.{node}" / "lab" / table)
        found[-1].mkdir(parents=True)
        while len(list(place.glob("*-Data.db"))) > 1:  # what was compacted goes a little later
            time.sleep(0.1)
        for file in place.glob("*-*-big-*"):
            shutil.copy(file, found[-1])
        session.execute(f'TRUNCATE lab."{table}"')
    return found


def folders_of(capture, name):
    """Where the files of a table lie: in each node's snapshot, and beside it what incremental backups kept since."""
    return [folder for pattern in ("", "/backups") for folder in sorted(capture.glob(f"node?/lab/{name}{pattern}"))
            if list(folder.glob("*-Data.db"))]
