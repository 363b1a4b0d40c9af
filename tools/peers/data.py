#!/usr/bin/env python3
"""Makes the trees that tools/peers/run backs up. The same FOLDER and SCALE give the same bytes at any time.

    tools/peers/data.py FOLDER SCALE

large    three files of 2 GB together: a log, a dump of SQL, a table of binary records; about 3.3:1 by zstd -3
edited   the same after 400 edits of 50 to 150 bytes: a third each overwrites, inserts and deletes
small    80,000 files of 1.3 GB together, of log-normal sizes, a twentieth of the bytes not compressible
content  what `small` holds, every folder and file of another name and time, in the same order
"""
import bisect
import itertools
import os
import random
import shutil
import struct
import sys
from pathlib import Path

TREES = ("large", "edited", "small", "content")
LARGE, SMALL, FILES, EDITS = 2_000_000_000, 1_300_000_000, 80_000, 400
# Files to a folder.
TOGETHER = 20
LINES = 4096
# The time of the oldest file, and how much later those of another tree are: none is young when it is read.
TIME, LATER = 1_700_000_000, 10_000_000


class Words:
    """Twenty thousand words, some of them much more frequent than others, as in a language."""

    def __init__(self):
        rng = random.Random("words")
        syllables = [a + b for a in "b c d f g h k l m n p r s t v st tr".split() for b in "a e i o u an er in".split()]
        self.all = ["".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(20_000)]
        self.weights = list(itertools.accumulate(1 / (n + 3) for n in range(len(self.all))))

    def some(self, rng, count):
        return rng.choices(self.all, cum_weights=self.weights, k=count)


WORDS = Words()


def prose(rng):
    """Text in lines, a third of them with an indentation, as in sources and papers."""
    while True:
        words = WORDS.some(rng, 10 * LINES)
        breaks = rng.choices((" ", ", ", ". ", "\n", "\n    ", "(", ") = "), (60, 6, 5, 8, 5, 3, 3), k=10 * LINES)
        yield "".join(itertools.chain.from_iterable(zip(words, breaks))).encode()


def log(rng):
    """Lines of servers: about twenty forms, a request's id, a user, and how long it took."""
    forms = [" ".join(WORDS.some(rng, rng.randint(4, 12))) for _ in range(20)]
    modules = [f"{a}.{b}" for a, b in zip(WORDS.some(rng, 12), WORDS.some(rng, 12))]
    clock = 0
    while True:
        users = WORDS.some(rng, LINES)
        out = []
        for user, form, module, level in zip(users, rng.choices(forms, k=LINES), rng.choices(modules, k=LINES),
                                             rng.choices(("INFO", "DEBUG", "WARN", "ERROR"), (70, 20, 8, 2), k=LINES)):
            draw = rng.getrandbits(128)
            clock += draw & 0xff
            hours, rest = divmod(clock, 3_600_000)
            out.append(f"2026-{1 + hours // 672 % 12:02}-{1 + hours // 24 % 28:02}T{hours % 24:02}:{rest // 60_000:02}:"
                       f"{rest % 60_000 / 1000:06.3f}Z {level} {module} 10.{draw >> 8 & 3}.{draw >> 16 & 31}."
                       f"{draw >> 24 & 255} request={draw:032x} user={user} {form} took={draw >> 40 & 1023}ms\n")
        yield "".join(out).encode()


def sql(rng):
    """Rows of orders with an address for letters, a price, and a column of JSON."""
    number = 0
    while True:
        words = iter(WORDS.some(rng, 8 * LINES))
        out = []
        for _ in range(LINES):
            first, last, host, street, *note = itertools.islice(words, 8)
            draw = rng.getrandbits(64)
            number += 1 + (draw & 3)
            out.append(f"INSERT INTO orders VALUES ({number},'{first} {last}','{first}.{last}@{host}.example',{draw >> 8 & 0xffff}."
                       f"{draw >> 4 & 15:02},'{{\"street\": \"{street} {draw >> 24 & 127}\", \"items\": [{draw >> 32 & 511}, "
                       f"{draw >> 41 & 511}], \"paid\": {'true' if draw >> 63 else 'false'}, \"note\": \"{' '.join(note)}\"}}');\n")
        yield "".join(out).encode()


def table(rng):
    """Records of one length: a rising key, a time, a measured value, a state, and a name filled up with zeros."""
    record = struct.Struct("<IQdHH12s28s")
    key = 0
    while True:
        out = []
        for name in WORDS.some(rng, LINES):
            draw = rng.getrandbits(160)
            key += 1 + (draw & 1)
            out.append(record.pack(key, 1_700_000_000_000 + 977 * key + (draw & 0x3ff), (draw >> 10 & 0xfff) / 4, draw >> 22 & 3,
                                   draw >> 24 & 7, (draw >> 64).to_bytes(12, "big"), name.encode()))
        yield b"".join(out)


def packed(rng):
    """What was compressed before, as pictures are."""
    while True:
        yield rng.randbytes(1 << 18)


class Stream:
    """Bytes of a kind, taken one after another: no two files share any."""

    def __init__(self, kind, seed):
        self.blocks, self.left = kind(random.Random(seed)), memoryview(b"")

    def write(self, file, count):
        while count:
            if not self.left:
                self.left = memoryview(next(self.blocks))
            part = self.left[:count]
            file.write(part)
            self.left = self.left[len(part):]
            count -= len(part)


def write_large(to, scale):
    to.mkdir()
    for number, (name, kind) in enumerate((("requests.log", log), ("orders.sql", sql), ("values.dat", table))):
        with open(to / name, "wb") as file:
            Stream(kind, name).write(file, int(LARGE * scale / 3))
        os.utime(to / name, (TIME + number,) * 2)


def write_edited(to, of, scale):
    """Edits lie anywhere in the bytes of all files together."""
    to.mkdir()
    rng = random.Random("edits")
    files = sorted(of.iterdir())
    ends = list(itertools.accumulate(f.stat().st_size for f in files))
    places = sorted(rng.sample(range(ends[-1]), max(4, round(EDITS * scale))))
    for number, file in enumerate(files):
        start = ends[number - 1] if number else 0
        here = places[bisect.bisect_left(places, start):bisect.bisect_left(places, ends[number])]
        with open(file, "rb") as old, open(to / file.name, "wb") as new:
            for place in here:
                copy(old, new, max(0, place - start - old.tell()))
                kind, length = rng.choice(("overwrite", "insert", "delete")), rng.randint(50, 150)
                if kind != "insert":
                    old.seek(length, os.SEEK_CUR)
                if kind != "delete":
                    new.write(rng.randbytes(length))
            copy(old, new, ends[-1])
        os.utime(to / file.name, (TIME + LATER + number,) * 2)


def copy(old, new, count):
    while count and (part := old.read(min(count, 1 << 20))):
        new.write(part)
        count -= len(part)


def write_small(to, scale):
    rng = random.Random("small")
    count = round(FILES * scale)
    sizes = [rng.lognormvariate(0, 1.6) for _ in range(count)]
    factor = SMALL * scale / sum(sizes)
    kinds = {"txt": prose, "sql": sql, "log": log, "dat": table, "zst": packed}
    streams = {ending: Stream(kind, f"small {ending}") for ending, kind in kinds.items()}
    for number, (size, ending) in enumerate(zip(sizes, rng.choices(list(kinds), (60, 18, 10, 7, 5), k=count))):
        n, within = divmod(number, TOGETHER)
        folder = to.joinpath(*(WORDS.all[100 + 16 * level + (n >> 4 * level & 15)] for level in (2, 1, 0)))
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{WORDS.all[number % 9973]}-{within}.{ending}"
        with open(path, "wb") as file:
            streams[ending].write(file, 1 + int(size * factor))
        os.utime(path, (TIME + number,) * 2)


def write_content(to, of):
    """One letter before every name: a program that packs neighbours together finds the same neighbours."""
    for folder, _, names in os.walk(of):
        there = to.joinpath(*("x" + part for part in Path(folder).relative_to(of).parts))
        there.mkdir(parents=True)
        for name in names:
            shutil.copyfile(Path(folder) / name, there / ("x" + name))
            os.utime(there / ("x" + name), (TIME + LATER + len(name),) * 2)


def main():
    to, scale = Path(sys.argv[1]), float(sys.argv[2])
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir(parents=True)
    write_large(to / "large", scale)
    write_edited(to / "edited", to / "large", scale)
    write_small(to / "small", scale)
    write_content(to / "content", to / "small")
    (to / "complete").write_text(sys.argv[2])


if __name__ == "__main__":
    main()
