"""One node that holds all replicas of a capture, compacted: the reconciled copy as Cassandra itself would make it."""

import re
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


def reconcile(capture):
    """Imports the capture of every node into one node that has nothing else, and compacts. Returns that cluster's name and
    its tables' folders. A node that runs already is emptied: that is quicker than a start."""
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
    disconnect(session)
    calls = [("nodetool", NODE, "import", "--copy-data", "lab", name.rsplit("-", 1)[0], *folders)
             for name in names if (folders := folders_of(capture, name))]
    many(version, [*calls, ("nodetool", NODE, "compact", "lab"), ("nodetool", NODE, "flush", "lab")])
    data = LAB / "run" / version / f"node{NODE}/data/lab"
    return version, {table: data / f"{table}-{id}" for table, id in ids.items()}


def folders_of(capture, name):
    """Where the files of a table lie: in each node's snapshot, and beside it what incremental backups kept since."""
    return [folder for pattern in ("", "/backups") for folder in sorted(capture.glob(f"node?/lab/{name}{pattern}"))
            if list(folder.glob("*-Data.db"))]
