"""One node that holds all replicas of a capture, compacted: the reconciled copy as Cassandra itself would make it."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bulk
import features
from nodes import LAB, connect, disconnect, tool


NODE = 4  # beside a cluster of three that may be running


def schema(capture, session):
    """Makes the keyspace and tables of a capture. Returns the tables' folders in it by name; views are left out."""
    release = re.search(r"(\d)\.(\d)", (capture / "version.txt").read_text())
    plan = features.plan(f"{release[1]}{release[2]}one", scale=0)
    session.execute("CREATE KEYSPACE lab WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 1}")
    # A table's schema.cql does not name every type that its collections hold, so all types come first.
    for statement in bulk.SCHEMA + plan.schema + plan.changes:
        if statement.split()[1] == "TYPE":
            session.execute(statement)
    names = sorted(folder.name for folder in (capture / "node1/lab").iterdir())
    tables = []
    for name in names:
        statements = (capture / "node1/lab" / name / "schema.cql").read_text().split(";\n")
        if any(statement.lstrip().startswith("CREATE MATERIALIZED VIEW") for statement in statements):
            continue  # a view is derived, and importing the base tables would not fill it
        for statement in filter(str.strip, statements):
            if "INDEX" not in statement.split("(")[0]:
                session.execute(statement)
        tables.append(name)
    return {name.rsplit("-", 1)[0]: name for name in tables}


def reconcile(capture):
    """Imports the capture of every node into one fresh node. Returns that cluster's name and its tables' folders."""
    capture = Path(capture).resolve()
    release = re.search(r"(\d)\.(\d)", (capture / "version.txt").read_text())
    version = f"{release[1]}{release[2]}one"
    tool("wipe", version)
    tool("start", version)
    session = connect(NODE)
    tables = list(schema(capture, session).values())
    disconnect(session)

    def take_in(name):
        folders = [str(folder) for folder in capture.glob(f"node?/lab/{name}") if list(folder.glob("*-Data.db"))]
        if folders:
            tool("nodetool", version, NODE, "import", "--copy-data", "lab", name.rsplit("-", 1)[0], *folders)

    with ThreadPoolExecutor(4) as pool:  # each call is mostly the start of a JVM
        list(pool.map(take_in, tables))
    tool("nodetool", version, NODE, "compact", "lab")
    tool("nodetool", version, NODE, "flush", "lab")
    data = LAB / "run" / version / f"node{NODE}/data/lab"
    return version, {name.rsplit("-", 1)[0]: data / name for name in tables}
