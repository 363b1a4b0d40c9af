"""What sstabledump prints, in one form: every partition's key, token, and lines that two dumps can be compared by.

CQL shows neither deletions nor liveness nor local deletion times; a dump does. Where it stands in the file is left out, and
times that it leaves out because the row's liveness gives them are written out.
"""

import datetime
import json
import uuid
from decimal import Decimal

from cassandra import cqltypes
from cassandra.metadata import Murmur3Token

TYPES = {"int": (cqltypes.Int32Type, int), "bigint": (cqltypes.LongType, int), "text": (cqltypes.UTF8Type, str),
         "decimal": (cqltypes.DecimalType, Decimal), "varint": (cqltypes.IntegerType, int),
         "date": (cqltypes.SimpleDateType, str), "uuid": (cqltypes.UUIDType, uuid.UUID)}
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def token(kinds, key):
    """The token of a partition key, given as sstabledump spells it and the CQL types of its columns."""
    parts = [TYPES[kind][0].serialize(TYPES[kind][1](text), 5) for kind, text in zip(kinds, key, strict=True)]
    if len(parts) > 1:
        parts = [len(part).to_bytes(2, "big") + part + b"\0" for part in parts]
    return Murmur3Token.hash_fn(b"".join(parts))


def micros(text):
    try:
        return int(text)
    except ValueError:
        since = datetime.datetime.fromisoformat(text.replace("Z", "+00:00")) - EPOCH
        return since // datetime.timedelta(microseconds=1)


def seconds(text):
    try:
        return int(text)
    except ValueError:
        return micros(text) // 1_000_000


def deletion(info):
    return f"{micros(info['marked_deleted'])}/{seconds(info['local_delete_time'])}"


def expiry(info):
    return f" ends {seconds(info['expires_at'])} ttl {info['ttl']}" if "ttl" in info else ""


def cell(cell, liveness):
    name = cell["name"] + "".join(f"[{part}]" for part in cell.get("path", ()))
    info = cell.get("deletion_info", {})
    if "marked_deleted" in info:
        return f"{name} deleted {deletion(info)}"
    time = micros(cell.get("tstamp", liveness.get("tstamp")))
    if "local_delete_time" in info:
        return f"{name} tombstone {time}/{seconds(info['local_delete_time'])}"
    return f"{name} at {time}{expiry(cell if 'ttl' in cell else liveness)} = {json.dumps(cell['value'], sort_keys=True)}"


def clustering(parts):
    """As text; a decimal is the same under every spelling (1.0, 1.00, 1), as two such clusterings are one."""
    return json.dumps([int(part) if isinstance(part, float) and part.is_integer() else part for part in parts])


def item(item):
    """A row, the static row, or a bound of a deleted range."""
    if item["type"] in ("row", "static_block"):
        liveness = item.get("liveness_info", {})
        head = f"{item['type']} {clustering(item.get('clustering', []))}"
        if "tstamp" in liveness:
            head += f" live {micros(liveness['tstamp'])}{expiry(liveness)}"
        if "deletion_info" in item:
            head += f" deleted {deletion(item['deletion_info'])}"
        cells = sorted(cell(each, liveness) for each in item["cells"])
        if "deletion_info" in item:
            # A column's deletion that is the row's own deletes nothing more: a compaction of Cassandra drops it or not, as it meets it.
            cells = [each for each in cells if each.partition(" deleted ")[2] != deletion(item["deletion_info"])]
        return [head, *(f"  {each}" for each in cells)]
    sides = []
    for side in ("end", "start"):
        if side in item:
            bound = item[side]
            sides.append(f"{side}s {bound['type']} {clustering(bound.get('clustering', []))} {deletion(bound['deletion_info'])}")
    return ["range " + ", ".join(sides)]


def partitions(text):
    """The partitions of a dump, one a line: their keys, and their lines."""
    for line in filter(str.strip, text.split("\n")):
        partition = json.loads(line)
        head = partition["partition"]
        lines = [f"partition deleted {deletion(head['deletion_info'])}"] if "deletion_info" in head else []
        for each in partition["rows"]:
            lines += item(each)
        if lines:
            yield tuple(head["key"]), lines


def times(lines):
    """The write times of all deletions in a partition."""
    found = set()
    for line in lines:
        words = line.split()
        for word, following in zip(words, words[1:]):
            if word in ("deleted", "tombstone"):
                found.add(int(following.split("/")[0]))
        if line.startswith("range"):
            found |= {int(word.strip(",").split("/")[0]) for word in words if "/" in word and word[0] in "-0123456789"}
    return sorted(found)
