"""The running cluster, seen from Python: one connection per node, and nodes that go away and come back."""

import os
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cassandra import ConsistencyLevel, Unavailable
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable
from cassandra.policies import FallthroughRetryPolicy, WhiteListRoundRobinPolicy

HERE = Path(__file__).resolve().parent
LAB = Path(os.environ["ONEFOLD_LAB"])
NODES = (1, 2, 3)


def tool(*arguments):
    """Runs tools/lab/cluster and returns what it printed."""
    done = subprocess.run([HERE / "cluster", *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"cluster {arguments} failed: {done.stdout}")
    return done.stdout


def many(version, calls):
    """Runs calls of `cluster many`; the first that failed ends the program."""
    with tempfile.NamedTemporaryFile("w") as file:
        file.write("".join("\t".join(map(str, call)) + "\n" for call in calls))
        file.flush()
        answers = tool("many", version, file.name).splitlines()
    failed = [f"{call}: {answer}" for call, answer in zip(calls, answers) if not answer.startswith("0")]
    if failed or len(answers) != len(calls):
        raise SystemExit(f"{len(failed)} of {len(calls)} calls failed, {len(answers)} were answered:\n" + "\n".join(failed[:5]))


def connect(node, consistency=ConsistencyLevel.ONE, row_factory=None):
    """A session whose coordinator is always this node."""
    address = f"127.0.0.{node}"
    options = {"load_balancing_policy": WhiteListRoundRobinPolicy([address]), "consistency_level": consistency,
               "retry_policy": FallthroughRetryPolicy(), "request_timeout": 300}
    if row_factory:
        options["row_factory"] = row_factory
    cluster = Cluster([address], protocol_version=5, schema_metadata_enabled=False, token_metadata_enabled=False,
                      execution_profiles={EXEC_PROFILE_DEFAULT: ExecutionProfile(**options)}, connect_timeout=30,
                      control_connection_timeout=30)
    return cluster.connect()


def disconnect(session):
    session.cluster.shutdown()


class Ring:
    """Which nodes are up. Nodes that are down get no write, and no hint is kept for them.

    `nowhere` is a look-up in a keyspace that every node replicates, of a key that is not there, or reading would repair it.
    """

    def __init__(self, version, nodes=NODES, nowhere="lab.tiny WHERE k = -1"):
        self.version = version
        self.nodes = nodes
        self.nowhere = nowhere
        self.stopped = set()
        self.silent = set()

    def stop(self, node):
        tool("stop-node", self.version, node)
        self.stopped.add(node)
        self.settle()

    def start(self, node):
        tool("start-node", self.version, node)
        self.stopped.discard(node)
        self.settle()

    def only(self, *nodes):
        """Only these nodes hear of writes: the others fall silent, which is quicker than a restart."""
        calls = []
        for node in self.nodes:
            if node in nodes and node in self.silent:
                calls.append(("enablegossip", node))
                self.silent.discard(node)
            elif node not in nodes and node not in self.silent:
                calls.append(("disablegossip", node))
                self.silent.add(node)
        running = [subprocess.Popen([HERE / "cluster", "nodetool", self.version, str(node), call])
                   for call, node in calls]
        if any(process.wait() for process in running):
            raise SystemExit("gossip could not be switched")
        self.settle()

    def up(self):
        return [node for node in self.nodes if node not in self.stopped | self.silent]

    def settle(self):
        """Waits until every node that is up knows who else is."""
        for node in self.up():
            session = connect(node, ConsistencyLevel.ALL)
            deadline = time.time() + 120
            while self._alive(session) != len(self.up()):
                if time.time() > deadline:
                    raise SystemExit(f"node {node} does not see {self.up()}")
                time.sleep(0.2)
            disconnect(session)

    def _alive(self, session):
        try:
            session.execute(f"SELECT v FROM {self.nowhere}")
            return len(self.nodes)
        except Unavailable as error:
            return error.alive_replicas


def empty(version, *nodes):
    """Drops the keyspace `lab` where all these nodes run, and says whether they do."""
    try:
        sessions = [connect(node) for node in nodes]
    except NoHostAvailable:
        return False
    if any(session.execute("SELECT cluster_name FROM system.local").one()[0] != f"lab{version}" for session in sessions):
        raise SystemExit(f"nodes {nodes} are another cluster's")
    sessions[0].execute("DROP KEYSPACE IF EXISTS lab")
    for session in sessions:
        disconnect(session)
    return True


def fresh(version, schema):
    """An empty keyspace `lab` with these tables on a running cluster of three. One that runs already is emptied: that is quicker."""
    if not empty(version, *NODES):
        tool("wipe", version)
        # The schema is made on one node, where it is quick; the others fetch it when they join.
        tool("start-node", version, 1)
    session = connect(1)
    session.execute("CREATE KEYSPACE lab WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 3}")
    for statement in schema:
        session.execute(statement)
    disconnect(session)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda node: tool("start-node", version, node), NODES[1:]))
    ring = Ring(version)
    ring.settle()
    return ring
