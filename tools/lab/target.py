"""A cluster into which something was restored: its ring, and what each of its replicas holds by itself."""

import re
from bisect import bisect_left
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from cassandra import ConsistencyLevel

from nodes import LAB, Ring, connect, disconnect, empty, tool

LOWEST, HIGHEST = -(2**63), 2**63 - 1
PROBE = "onefold_lab"  # a keyspace on every node, to ask who is up


class Target:
    def __init__(self, version):
        self.version = version
        self.centres = dict(line.split() for line in tool("nodes", version).splitlines())
        self.nodes = [int(node) for node in self.centres]
        self.ring = Ring(version, self.nodes, f"{PROBE}.nowhere WHERE k = 1")
        self.ranges = {}

    def start(self, replication, schema):
        """Starts it with the keyspace `lab` and these statements, but no data. One that runs already is emptied.

        The schema is made on one node, where it is quick; the others fetch it when they join.
        """
        first, *others = self.nodes
        if not empty(self.version, *self.nodes):
            tool("wipe", self.version)
            tool("start-node", self.version, first)
        session = connect(first)
        for keyspace in (PROBE, "lab"):  # one node knows no other data centre
            session.execute(f"CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = {strategy({'dc1': 1})}")
        session.execute(f"CREATE TABLE IF NOT EXISTS {PROBE}.nowhere (k int PRIMARY KEY, v int) WITH speculative_retry = 'NEVER'")
        disconnect(session)
        self.execute(schema)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda node: tool("start-node", self.version, node), others))
        session = connect(first)
        for keyspace, copies in ((PROBE, dict(Counter(self.centres.values()))), ("lab", replication)):
            session.execute(f"ALTER KEYSPACE {keyspace} WITH replication = {strategy(copies)}")
        disconnect(session)
        self.ring.settle()

    def nodetool(self, node, *words):
        return tool("nodetool", self.version, node, *words)

    def learn(self, keyspace="lab"):
        """Which ranges each node replicates, as `nodetool describering` says: (low, high], ascending, joined."""
        text = self.nodetool(self.nodes[0], "describering", keyspace)
        self.ranges = {node: [] for node in self.nodes}
        for low, high, endpoints in re.findall(r"start_token:(-?\d+), end_token:(-?\d+), endpoints:\[([^]]*)\]", text):
            low, high = int(low), int(high)
            pieces = [(low, high)] if low < high else [(low, HIGHEST), (LOWEST, high)]
            for endpoint in endpoints.split(", "):
                self.ranges[int(endpoint.rsplit(".", 1)[1])] += pieces
        for node, pieces in self.ranges.items():
            joined = []
            for low, high in sorted(piece for piece in pieces if piece[0] != piece[1]):
                if joined and joined[-1][1] >= low:
                    joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
                else:
                    joined.append((low, high))
            self.ranges[node] = joined

    def owns(self, node, token):
        pieces = self.ranges[node]
        at = bisect_left(pieces, token, key=lambda piece: piece[1])
        return at < len(pieces) and pieces[at][0] < token

    def execute(self, text):
        """Runs the statements of a file, each ended by a semicolon at the end of a line."""
        session = connect(self.nodes[0])
        for statement in statements(text):
            try:
                session.execute(statement)
            except Exception as error:
                raise SystemExit(f"{statement}: {error}") from None
        disconnect(session)

    def data(self, node, table):
        """The folder of a table's files on a node."""
        session = connect(node)
        found = session.execute("SELECT id FROM system_schema.tables WHERE keyspace_name='lab' AND table_name=%s", (table,)).one()
        disconnect(session)
        return LAB / "run" / self.version / f"node{node}/data/lab/{table}-{found.id.hex}"

    def log(self, node):
        return (LAB / "run" / self.version / f"node{node}/system.log").read_text(errors="replace")


def strategy(copies):
    return {"class": "NetworkTopologyStrategy", **copies}


def statements(text):
    text = re.sub(r"^\s*--.*$", "", text, flags=re.M)
    return [statement.strip() for statement in re.split(r";\s*(?:\n|$)", text) if statement.strip()]
