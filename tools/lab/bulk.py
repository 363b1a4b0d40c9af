"""The large tables: what a backup's size and speed are measured on.

Proportions, fixed: of every table's rows 5 % are missing and 2 % are stale on each of the three replicas; at most a
fifth of the bytes is incompressible (README.md has the sums).
"""

import datetime
import itertools
import random
import uuid
from decimal import Decimal

SCHEMA = [
    "CREATE TYPE lab.item (sku text, count int, price decimal)",
    "CREATE TABLE lab.metrics (sensor text, day date, at timestamp, value double, low double, high double, "
    "samples int, status smallint, note text, raw blob, PRIMARY KEY ((sensor, day), at))",
    "CREATE TABLE lab.users (id bigint PRIMARY KEY, name text, email text, joined timestamp, bio text, address text, "
    "interests set<text>, settings map<text, text>) WITH compression = {'class': 'ZstdCompressor'}",
    "CREATE TABLE lab.orders (customer int, at timestamp, number int, id uuid, state text, total decimal, "
    "items list<frozen<item>>, note text, PRIMARY KEY (customer, at, number)) "
    "WITH CLUSTERING ORDER BY (at DESC, number ASC) AND compression = {'class': 'SnappyCompressor'}",
    "CREATE TABLE lab.tiny (k int, c smallint, v int, PRIMARY KEY (k, c))",
]
ROWS = {"metrics": 700_000, "users": 280_000, "orders": 450_000, "tiny": 1_200_000}  # at scale 1
MISSING, STALE = 0.05, 0.02  # of the rows, on each replica
EPOCH = datetime.datetime(2026, 1, 1)

random_source = random.Random(20260101)
_syllables = [a + b for a in "bcdfghklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "er", "is")]
WORDS = ["".join(random_source.choices(_syllables, k=random_source.choice((1, 2, 2, 3)))) for _ in range(4000)]
_weights = list(itertools.accumulate(1 / (rank + 3) for rank in range(len(WORDS))))


def text(rng, words):
    """Prose as frequent words make it: zstd halves it twice, LZ4 nearly once."""
    return " ".join(rng.choices(WORDS, cum_weights=_weights, k=words))


def metrics(rng, rows):
    """Partitions of 720 rows, one every two minutes of a day: some 300 KiB each."""
    for partition in range(max(1, rows // 720)):
        sensor, day = f"site-{partition % 37:02}/sensor-{partition // 30:05}", EPOCH.date() + datetime.timedelta(partition % 30)
        start, value = datetime.datetime.combine(day, datetime.time()), rng.uniform(10, 90)
        for minute in range(min(720, rows)):
            value += rng.gauss(0, 0.2)
            yield (sensor, day, start + datetime.timedelta(minutes=2 * minute), round(value, 3), round(value - 1.5, 3),
                   round(value + 1.5, 3), rng.randrange(90, 120), rng.choice((0, 0, 0, 0, 1, 2)), text(rng, 40), rng.randbytes(40))


def users(rng, rows):
    for number in range(rows):
        name = f"{rng.choice(WORDS).title()} {rng.choice(WORDS).title()}"
        yield (number * 7919, name, f"{name.replace(' ', '.').lower()}{number}@example.org",
               EPOCH - datetime.timedelta(seconds=rng.randrange(10**8)), text(rng, 70), text(rng, 8),
               set(rng.choices(WORDS[:300], k=4)), {key: rng.choice(WORDS[:50]) for key in rng.sample(WORDS[:40], 3)})


def orders(rng, rows):
    for number in range(rows):
        items = [(f"sku-{rng.randrange(5000):05}", rng.randrange(1, 9), Decimal(rng.randrange(100, 99999)).scaleb(-2))
                 for _ in range(rng.randrange(1, 5))]
        yield (number // 30, EPOCH + datetime.timedelta(seconds=number % 30 * 86400 + rng.randrange(86400)), number,
               uuid.UUID(int=rng.getrandbits(128), version=4), rng.choice(("new", "paid", "sent", "returned")),
               sum(count * price for _, count, price in items), items, text(rng, 35))


def tiny(rng, rows):
    for number in range(rows):
        yield (number // 100, number % 100, rng.randrange(10**6))


# Per table: its rows, its columns, how many columns make its key (and its partition key), and how a stale row was
# changed: a column and its new value.
TABLES = {
    "metrics": (metrics, "sensor day at value low high samples status note raw", 3, 2, ("note", lambda rng: text(rng, 40))),
    "users": (users, "id name email joined bio address interests settings", 1, 1, ("bio", lambda rng: text(rng, 70))),
    "orders": (orders, "customer at number id state total items note", 3, 1, ("state", lambda rng: "changed")),
    "tiny": (tiny, "k c v", 2, 1, ("v", lambda rng: rng.randrange(10**6))),
}


class Table:
    """Deals the rows of one table out to the phases."""

    def __init__(self, name, scale):
        self.name = name
        make, columns, self.key, self.partition, (self.changed, self.change) = TABLES[name]
        self.columns = columns.split()
        self.rng = random.Random(name)
        self.rows = make(self.rng, max(60, int(ROWS[name] * scale)))
        self.missing = {1: [], 2: [], 3: []}
        self.stale = {1: [], 2: [], 3: []}

    def insert(self):
        return f"INSERT INTO lab.{self.name} ({','.join(self.columns)}) VALUES ({','.join('?' * len(self.columns))})"

    def update(self):
        return f"UPDATE lab.{self.name} SET {self.changed} = ? WHERE {self.where()}"

    def where(self):
        return " AND ".join(f"{column} = ?" for column in self.columns[:self.key])

    def at_first(self):
        """Rows that every replica gets; the others are put aside for the phases without one."""
        for row in self.rows:
            dice = self.rng.random()
            if dice < 3 * MISSING:
                self.missing[1 + int(dice / MISSING)].append(row)
            else:
                if dice > 1 - 3 * STALE:
                    self.stale[1 + min(2, int((1 - dice) / STALE))].append((self.change(self.rng), *row[:self.key]))
                yield row

    def batches(self, rows, key_at=0):
        """Neighbouring rows of one partition, up to 60 at a time."""
        for _, group in itertools.groupby(rows, lambda row: row[key_at:key_at + self.partition]):
            while batch := list(itertools.islice(group, 60)):
                yield batch
