"""Statements of every kind about partitions of four tables, drawn at random, and how they are sent."""

import sys
import threading

T = 1_700_000_000_000_000  # the first of the six moments
BRIEF, LONG = 15, (5 * 365 * 86400, 5 * 365 * 86400 + 86400, 6 * 365 * 86400)  # seconds
NEVER = "speculative_retry = 'NEVER' AND read_repair = 'NONE'"  # a read that repairs brings deleted counters back

SCHEMA = [
    "CREATE TYPE lab.pair (a int, b text)",
    f"CREATE TABLE lab.tiny (k int, c smallint, v int, PRIMARY KEY (k, c)) WITH {NEVER}",
    "CREATE TABLE lab.plain (k int, c int, s text static, sm map<int,text> static, v text, w int, m map<int,text>, "
    f"st set<int>, l list<int>, u pair, fu frozen<pair>, PRIMARY KEY (k, c)) WITH {NEVER}",
    "CREATE TABLE lab.deep (k int, a int, b text, d decimal, v text, m map<int,text>, PRIMARY KEY (k, a, b, d)) "
    f"WITH CLUSTERING ORDER BY (a DESC, b ASC, d DESC) AND {NEVER} AND compression = {{'class': 'ZstdCompressor'}}",
    f"CREATE TABLE lab.counted (k int, c int, n counter, o counter, s counter static, PRIMARY KEY (k, c)) WITH {NEVER}",
]
SHARES = {"plain": 0.5, "deep": 0.3, "counted": 0.2}


def using(rng, ttl=True):
    text = f" USING TIMESTAMP {T + rng.randrange(6)}"
    dice = rng.random()
    if ttl and dice < 0.3:
        text += f" AND TTL {BRIEF if dice < 0.12 else rng.choice(LONG)}"
    return text


def bounds(rng, column, values):
    """A range of one column's values: open or closed, or without one end."""
    low, high = sorted(rng.sample(range(len(values)), 2))
    parts = [f"{column} {rng.choice(('>', '>='))} {values[low]}", f"{column} {rng.choice(('<', '<='))} {values[high]}"]
    return " AND ".join(rng.choice((parts, parts, parts[:1], parts[1:])))


def word(rng):
    return rng.choice(("'a'", "'b'", "'c'", "''", "'zz'", "null"))


def plain(rng, k):
    c = rng.randrange(4)
    row, static = f"k={k} AND c={c}", f"k={k}"
    n = rng.randrange(3)
    sets = [f"v={word(rng)}", f"w={n}", f"v={word(rng)}, w={n}", f"m[{n}]={word(rng)}", f"m={{{n}:'x', 7:'y'}}", "m=null",
            f"m=m-{{{n}}}", f"st=st+{{{n}}}", f"st=st-{{{n}}}", f"st={{{n},9}}", f"l=l+[{n}]", f"l=[{n}]+l", f"l=[{n}]",
            f"u.a={n}", f"u.b={word(rng)}", f"u={{a:{n},b:'whole'}}", "u=null", f"fu={{a:{n},b:null}}", "l=null"]
    statics = [f"s={word(rng)}", f"sm[{n}]={word(rng)}", f"sm={{{n}:'s'}}", "sm=null"]
    dice = rng.random()
    if dice < 0.22:
        return f"INSERT INTO lab.plain (k,c,v,w) VALUES ({k},{c},{word(rng)},{n}){using(rng)}"
    if dice < 0.26:
        return f"INSERT INTO lab.plain (k,c) VALUES ({k},{c}){using(rng)}"
    if dice < 0.30:
        return f"INSERT INTO lab.plain (k,c,v,m,st) VALUES ({k},{c},'i',{{{n}:'i'}},{{{n}}}){using(rng)}"
    if dice < 0.60:
        return f"UPDATE lab.plain{using(rng)} SET {rng.choice(sets)} WHERE {row}"
    if dice < 0.68:
        return f"UPDATE lab.plain{using(rng)} SET {rng.choice(statics)} WHERE {static}"
    at = using(rng, ttl=False)
    if dice < 0.78:
        what = rng.choice(("v", "w", f"m[{n}]", "m", "st", "l", "u", "fu", "v, w, m"))
        return f"DELETE {what} FROM lab.plain{at} WHERE {row}"
    if dice < 0.81:
        return f"DELETE {rng.choice(('s', 'sm', f'sm[{n}]'))} FROM lab.plain{at} WHERE {static}"
    if dice < 0.89:
        return f"DELETE FROM lab.plain{at} WHERE {row}"
    if dice < 0.97:
        return f"DELETE FROM lab.plain{at} WHERE {static} AND {bounds(rng, 'c', range(5))}"
    return f"DELETE FROM lab.plain{at} WHERE {static}"


def deep(rng, k):
    a, b, d = rng.randrange(-1, 3), rng.choice(("''", "'x'", "'xy'")), rng.choice(("1.0", "-2.5", "1E+2"))
    row = f"k={k} AND a={a} AND b={b} AND d={d}"
    dice = rng.random()
    if dice < 0.4:
        return f"INSERT INTO lab.deep (k,a,b,d,v) VALUES ({k},{a},{b},{d},{word(rng)}){using(rng)}"
    if dice < 0.5:
        return f"UPDATE lab.deep{using(rng)} SET m[{rng.randrange(2)}]={word(rng)} WHERE {row}"
    at = using(rng, ttl=False)
    where = rng.choice((
        row, f"k={k} AND a={a} AND b={b}", f"k={k} AND a={a}", f"k={k}", f"k={k} AND {bounds(rng, 'a', range(-1, 4))}",
        f"k={k} AND a={a} AND {bounds(rng, 'b', (repr(''), repr('x'), repr('xy'), repr('y')))}",
        f"k={k} AND a={a} AND b={b} AND {bounds(rng, 'd', ('-3', '-2.50', '1', '99.9', '100'))}",
        f"k={k} AND (a,b) = ({a},{b})"))
    if dice < 0.56:
        return f"DELETE {rng.choice(('v', 'm', 'm[0]'))} FROM lab.deep{at} WHERE {row}"
    return f"DELETE FROM lab.deep{at} WHERE {where}"


def counted(rng, k):
    row = f"k={k} AND c={rng.randrange(2)}"
    dice = rng.random()
    if dice < 0.7:
        name = rng.choice("no")
        return f"UPDATE lab.counted SET {name} = {name} + {rng.randrange(-9, 99)} WHERE {row}"
    if dice < 0.85:
        return f"UPDATE lab.counted SET s = s + {rng.randrange(1, 99)} WHERE k={k}"
    return rng.choice((f"DELETE n FROM lab.counted WHERE {row}", f"DELETE FROM lab.counted WHERE {row}",
                       f"DELETE FROM lab.counted WHERE k={k} AND c >= 1", f"DELETE s FROM lab.counted WHERE k={k}",
                       f"DELETE FROM lab.counted WHERE k={k}"))


def write(session, statements):
    window, failures = threading.Semaphore(64), []

    def failed(error, statement):
        failures.append(f"{statement}: {error}")
        window.release()

    for statement in statements:
        window.acquire()
        session.execute_async(statement).add_callbacks(lambda _: window.release(), failed, errback_args=(statement,))
        if failures:
            break
    for _ in range(64):
        window.acquire()
    if failures:
        sys.exit(failures[0])
