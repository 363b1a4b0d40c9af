"""Every feature a table can have, and every way in which replicas can disagree about it: a few rows of each.

A statement belongs to a phase: which nodes are up when it is written.

    all                           every node, before anything goes wrong
    without1 without2 without3    one node is down
    only1 only2 only3             one node alone hears of it
    end                           every node again, after the schema has changed

`conflict` names a class of disagreement and a query that shows it: the answers of the three nodes must differ.
`feature` names what replicas agree about, but a backup must understand: the query must have an answer.
"""

PHASES = ("all", "without3", "without1", "without2", "only1", "only2", "only3", "end")
T = 1_700_000_000_000_000  # the base of the client's time stamps, in microseconds
YEARS = 5 * 365 * 86400


class Plan:
    def __init__(self, version, scale):
        self.big = 1_000_000 if scale >= 1 else 300_000  # bytes of a big value
        self.modern = version.startswith("50")
        self.unsigned = version == "50oa"  # its files hold deletion times after 2038
        self.schema, self.changes = [], []
        self.writes = {phase: [] for phase in PHASES}
        self.conflicts, self.features = [], []

    def table(self, *statements):
        self.schema += statements

    def change(self, *statements):
        self.changes += statements

    def write(self, phase, *statements):
        self.writes[phase] += statements

    def conflict(self, name, query):
        self.conflicts.append((name, query))

    def feature(self, name, query):
        self.features.append((name, query))


def plan(version, scale):
    p = Plan(version, scale)
    for fill in (types, composite, clusterings, equal_clusterings, statics, collections, counters, expiring, deletions,
                 ranges, ties, liveness, dropped, views, layouts, wide, big_values, client_times):
        fill(p)
    return p


def types(p):
    p.table("CREATE TYPE lab.geo (lat double, lon double)",
            "CREATE TYPE lab.address (street text, zip int, tags frozen<set<text>>, at frozen<geo>)",
            "CREATE TYPE lab.pair (a int, b text)")
    scalars = {
        "ascii": ["'plain'", "''", "'tab\t\"quoted\" \\ back'"],
        "bigint": ["-9223372036854775808", "9223372036854775807", "0"],
        "blob": ["0x", "0x00ff80", "0x" + "ab" * 40],
        "boolean": ["true", "false"],
        "date": ["'1970-01-01'", "'-5877641-06-23'", "'2026-11-21'"],
        "decimal": ["0", "1.0", "1.00", "-12345678901234567890.123456789", "1E+30", "1E-30"],
        "double": ["0.1", "-0.0", "NaN", "Infinity", "-Infinity", "1.7976931348623157E308", "1E-300", "123456789.0"],
        "duration": ["1mo2d3h4ns", "-89h4m48s", "0s", "1y3mo"],
        "float": ["0.1", "-0.0", "NaN", "3.4028235E38", "16777216", "1E-10"],
        "inet": ["'127.0.0.1'", "'2001:db8::1'", "'::ffff:10.0.0.1'"],
        "int": ["-2147483648", "2147483647", "0"],
        "smallint": ["-32768", "32767"],
        "text": ["''", "'naïve – 漢字 🦀 \x01 \x7f'", "'line\nbreak \"q\" '''"],
        "time": ["'00:00:00'", "'23:59:59.999999999'", "'08:12:54.120'"],
        "timestamp": ["'1969-12-31T23:59:59.999Z'", "'2026-11-21T01:02:03.004Z'", "0", "253402300800000"],
        "timeuuid": ["50554d6e-29bb-11e5-b345-feff819cdc9f", "00000000-0000-1000-8080-808080808080"],
        "tinyint": ["-128", "127"],
        "uuid": ["123e4567-e89b-42d3-a456-426614174000", "00000000-0000-0000-0000-000000000000"],
        "varint": ["0", "127", "128", "-129", "123456789012345678901234567890", "-1"],
    }
    composed = {
        "s": ("set<int>", ["{3,1,2}", "{}"]), "l": ("list<text>", ["['b','a','b']", "[]"]),
        "m": ("map<text,int>", ["{'k':1,'':2}"]), "fs": ("frozen<set<text>>", ["{'b','a'}", "{}"]),
        "fl": ("frozen<list<decimal>>", ["[1.0,1.00,-3]", "[]"]), "fm": ("frozen<map<int,text>>", ["{2:'b',1:'a'}"]),
        "nested": ("map<text,frozen<list<frozen<map<int,text>>>>>", ["{'x':[{1:'a'},{2:'b',3:'c'}],'y':[]}"]),
        "su": ("set<uuid>", ["{123e4567-e89b-42d3-a456-426614174000}"]),
        "mt": ("map<timestamp,duration>", ["{'2026-11-21T00:00:00Z':1mo}"]),
        "mi": ("map<inet,boolean>", ["{'10.0.0.1':true}"]), "mb": ("map<boolean,blob>", ["{true:0x01,false:0x}"]),
        "md": ("map<decimal,varint>", ["{1.5:7}"]), "mf": ("map<double,float>", ["{0.5:1.5}"]),
        "t": ("tuple<int,text,boolean>", ["(1,'a',true)", "(null,'x',null)"]),
        "tn": ("frozen<tuple<int,frozen<tuple<text,double>>,frozen<list<int>>>>", ["(1,('a',0.5),[1,2])"]),
        "u": ("address", ["{street:'s',zip:1,tags:{'a'},at:{lat:1.5,lon:2}}", "{zip:2}"]),
        "fu": ("frozen<address>", ["{street:'f',zip:null,tags:{},at:{lat:0,lon:null}}", "{street:''}"]),
        "lu": ("list<frozen<pair>>", ["[{a:1,b:'x'},{a:null,b:null}]"]),
        "mu": ("map<frozen<pair>,frozen<geo>>", ["{{a:1,b:'k'}:{lat:1,lon:2}}"]),
    }
    if p.modern:
        composed |= {"v": ("vector<float,3>", ["[1.5,-2,0]"]), "vt": ("vector<text,2>", ["['a','']"]),
                     "fv": ("frozen<list<vector<int,2>>>", ["[[1,2],[3,4]]"])}
    columns = [(f"c_{name}", name, values) for name, values in scalars.items()]
    columns += [(name, kind, values) for name, (kind, values) in composed.items()]
    p.table("CREATE TABLE lab.types_all (id int PRIMARY KEY, "
            + ", ".join(f"{name} {kind}" for name, kind, _ in columns) + ")")
    names = ",".join(name for name, _, _ in columns)
    for row in range(8):
        values = ",".join(values[row % len(values)] for _, _, values in columns)
        p.write("all", f"INSERT INTO lab.types_all (id,{names}) VALUES ({row},{values})")
    # One column at a time, each on its own replica: cells of every type are merged.
    for number, (name, _, values) in enumerate(columns):
        p.write(f"only{number % 3 + 1}", f"UPDATE lab.types_all SET {name} = {values[0]} WHERE id = 100")
        p.write(f"only{(number + 1) % 3 + 1}", f"UPDATE lab.types_all SET {name} = {values[-1]} WHERE id = 101")
    p.write("all", "INSERT INTO lab.types_all (id) VALUES (102)",
            "INSERT INTO lab.types_all (id,c_int,c_bigint,c_uuid,c_double,c_timestamp,c_decimal,c_varint,"
            "c_inet) VALUES (103,blobAsInt(0x),blobAsBigint(0x),blobAsUuid(0x),blobAsDouble(0x),"
            "blobAsTimestamp(0x),blobAsDecimal(0x),blobAsVarint(0x),blobAsInet(0x))")
    p.conflict("columns of one row written on different replicas", "SELECT JSON * FROM lab.types_all WHERE id = 100")
    p.feature("every type", "SELECT JSON * FROM lab.types_all WHERE id = 0")
    p.feature("empty values of types that are not text", "SELECT JSON * FROM lab.types_all WHERE id = 103")

    ordered = {name: values for name, values in scalars.items() if name not in ("duration",)}
    ordered |= {"pair": ["{a:1,b:'x'}", "{a:1,b:'y'}", "{a:null,b:'x'}", "{a:-1}"],
                "tuple": ["(1,'a')", "(1,null)", "(-1,'z')"],
                "list": ["[1,2]", "[1]", "[]", "[-1,5]"], "set": ["{'a','b'}", "{'a'}", "{'b'}"],
                "map": ["{'a':1}", "{'a':2}", "{'b':0}"]}
    ordered["decimal"] = ["0", "1.0", "-1.5", "10", "9.99", "-1E+20", "1E-9", "123456.789"]
    ordered["varint"] = ["0", "127", "128", "255", "256", "-1", "-128", "-129", "-256", "12345678901234567890", "-99999999999999999999"]
    ordered["text"] = ["''", "'a'", "'ab'", "'b'", "'\x00'", "'漢'", "'🦀'"]
    ordered["blob"] = ["0x", "0x00", "0x0001", "0xff", "0x01", "0xff00"]
    ordered["timeuuid"] += ["50554d6e-29bb-11e5-b345-000000000000", "8a000000-0000-11f0-8000-000000000000"]
    kinds = {"pair": "frozen<pair>", "tuple": "frozen<tuple<int,text>>", "list": "frozen<list<int>>",
             "set": "frozen<set<text>>", "map": "frozen<map<text,int>>"}
    for order in ("ASC", "DESC"):
        names = [f"c_{name}" for name in ordered]
        table = f"lab.keys_{order.lower()}"
        p.table(f"CREATE TABLE {table} (k text, "
                + ", ".join(f"c_{name} {kinds.get(name, name)}" for name in ordered)
                + f", v int, PRIMARY KEY (k, {', '.join(names)})) WITH CLUSTERING ORDER BY ("
                + ", ".join(f"{name} {order}" for name in names) + ")")
        row = 0
        for varying, values in ordered.items():
            for value in values:
                row += 1
                clustering = ",".join(value if name == varying else ordered[name][0] for name in ordered)
                p.write(("all", "without1", "without2", "without3")[row % 4],
                        f"INSERT INTO {table} (k,{','.join(names)},v) VALUES ('{varying}',{clustering},{row})")
    p.conflict("row missing on one replica", "SELECT JSON * FROM lab.keys_asc WHERE k = 'varint'")
    p.conflict("row missing on one replica, descending", "SELECT JSON * FROM lab.keys_desc WHERE k = 'varint'")


def composite(p):
    p.table("CREATE TABLE lab.composite (a text, b int, d decimal, v text, PRIMARY KEY ((a, b, d)))")
    for phase, (a, b, d) in zip(["all", "without1", "without2", "without3", "all", "only1", "all"], [
            ("''", 0, "0"), ("'x'", 1, "1.0"), ("'x'", 1, "1.00"), ("'x'", -1, "1E+3"), ("'x:y'", 1, "1000"),
            ("'é'", 2147483647, "-0.10"), ("'é'", 2147483647, "-0.1")]):
        p.write(phase, f"INSERT INTO lab.composite (a,b,d,v) VALUES ({a},{b},{d},'v')")
    p.conflict("partition missing on one replica", "SELECT JSON * FROM lab.composite WHERE a='x' AND b=1 AND d=1.0")
    p.feature("empty text in a composite key", "SELECT JSON * FROM lab.composite WHERE a='' AND b=0 AND d=0")
    for kind, values in {"decimal": ["1", "1.0", "1.00", "1E+1", "10", "0", "0.000"],
                         "varint": ["blobAsVarint(0x01)", "blobAsVarint(0x0001)", "blobAsVarint(0xff)",
                                    "blobAsVarint(0xffff)", "300"]}.items():
        p.table(f"CREATE TABLE lab.key_{kind} (k {kind} PRIMARY KEY, v int)")
        for number, value in enumerate(values):
            p.write(("all", "without1", "without2")[number % 3],
                    f"INSERT INTO lab.key_{kind} (k,v) VALUES ({value},{number})")
    p.feature("equal decimals that are two partitions",
              "SELECT JSON * FROM lab.key_decimal WHERE k IN (1.0, 1.00)")
    p.table('CREATE TABLE lab."Quoted" ("Id" int, "Some Value" text, "from" text, "Stat" int static, '
            'PRIMARY KEY ("Id", "from"))')
    p.write("all", 'INSERT INTO lab."Quoted" ("Id","Some Value","from","Stat") VALUES (1,\'v\',\'f\',9)')
    p.write("without2", 'UPDATE lab."Quoted" SET "Some Value" = \'w\' WHERE "Id" = 1 AND "from" = \'f\'')
    p.conflict("row stale on one replica", 'SELECT JSON * FROM lab."Quoted"')


def clusterings(p):
    p.table("CREATE TABLE lab.mixed (k int, a text, b int, c timestamp, v text, PRIMARY KEY (k, a, b, c)) "
            "WITH CLUSTERING ORDER BY (a DESC, b ASC, c DESC) AND compression = {'class': 'SnappyCompressor'}")
    row = 0
    for a in ("''", "'a'", "'ab'", "'b'"):
        for b in (-5, 0, 7):
            for c in (0, 1000, 2000):
                row += 1
                phase = ("all", "all", "without1", "without2", "without3", "all", "only2")[row % 7]
                p.write(phase, f"INSERT INTO lab.mixed (k,a,b,c,v) VALUES (1,{a},{b},{c},'{row}')")
    # A prefix of several columns, under mixed orders.
    p.write("only1", "DELETE FROM lab.mixed WHERE k=1 AND a='ab' AND b=7")
    p.write("only3", "DELETE FROM lab.mixed WHERE k=1 AND a='b' AND b>=0 AND b<7")
    p.write("only2", "DELETE FROM lab.mixed WHERE k=1 AND a='a' AND b=0 AND c>0")
    p.write("only3", "DELETE FROM lab.mixed WHERE k=1 AND a='a' AND b=0 AND c<=1000")
    p.write("only1", "DELETE FROM lab.mixed WHERE k=1 AND (a,b)>=('',0) AND (a,b)<('',7)")
    p.conflict("range of a multi-column prefix deleted on one replica",
               "SELECT JSON * FROM lab.mixed WHERE k=1 AND a='ab'")
    p.conflict("range under mixed orders deleted on one replica", "SELECT JSON * FROM lab.mixed WHERE k=1 AND a='b'")
    p.conflict("overlapping ranges deleted on two replicas, mixed orders",
               "SELECT JSON * FROM lab.mixed WHERE k=1 AND a='a' AND b=0")


def equal_clusterings(p):
    p.table("CREATE TABLE lab.equal_keys (k int, d decimal, n varint, v int, w int, PRIMARY KEY (k, d, n)) "
            "WITH CLUSTERING ORDER BY (d DESC, n ASC)")
    p.write("only1", "INSERT INTO lab.equal_keys (k,d,n,v) VALUES (1,1.0,blobAsVarint(0x01),1)",
            "INSERT INTO lab.equal_keys (k,d,n,v) VALUES (2,2.50,5,1)")
    p.write("only2", "INSERT INTO lab.equal_keys (k,d,n,w) VALUES (1,1.00,blobAsVarint(0x0001),2)",
            "DELETE FROM lab.equal_keys WHERE k=2 AND d=2.5 AND n=5")
    p.write("all", "INSERT INTO lab.equal_keys (k,d,n,v) VALUES (3,7,blobAsVarint(0x000007),1)",
            "INSERT INTO lab.equal_keys (k,d,n,v) VALUES (3,7.5,7,1)")
    p.conflict("equal clusterings in different bytes", "SELECT JSON * FROM lab.equal_keys WHERE k=1")
    p.conflict("row deleted under an equal clustering in different bytes",
               "SELECT JSON * FROM lab.equal_keys WHERE k=2")


def statics(p):
    p.table("CREATE TABLE lab.statics (k int, c int, s text static, sm map<text,int> static, su frozen<geo> static, "
            "v text, PRIMARY KEY (k, c))")
    p.write("all", "INSERT INTO lab.statics (k,c,s,sm,su,v) VALUES (1,1,'one',{'a':1},{lat:1,lon:1},'v')",
            "INSERT INTO lab.statics (k,s) VALUES (2,'alone')",
            "INSERT INTO lab.statics (k,c,v) VALUES (3,1,'no static')", "INSERT INTO lab.statics (k,s) VALUES (4,'dead')",
            "INSERT INTO lab.statics (k,c,s,v) VALUES (5,1,'dead','v')", "UPDATE lab.statics SET s='old' WHERE k=6")
    p.write("without1", "UPDATE lab.statics SET s='newer' WHERE k=1", "INSERT INTO lab.statics (k,s) VALUES (7,'missing')")
    p.write("without2", "UPDATE lab.statics SET sm['b']=2 WHERE k=1")
    p.write("only3", "DELETE s FROM lab.statics WHERE k=5", "DELETE FROM lab.statics WHERE k=4",
            "DELETE sm FROM lab.statics WHERE k=1", "UPDATE lab.statics USING TTL 20 SET s='brief' WHERE k=6")
    p.write("only1", "DELETE FROM lab.statics WHERE k=1 AND c>=0 AND c<5")
    p.conflict("static cell stale on one replica", "SELECT JSON * FROM lab.statics WHERE k=1")
    p.conflict("static-only partition missing on one replica", "SELECT JSON * FROM lab.statics WHERE k=7")
    p.conflict("static cell deleted on one replica", "SELECT JSON * FROM lab.statics WHERE k=5")
    p.conflict("static-only partition deleted on one replica", "SELECT JSON * FROM lab.statics WHERE k=4")
    p.feature("static-only partition", "SELECT JSON * FROM lab.statics WHERE k=2")


def collections(p):
    p.table("CREATE TABLE lab.collections (id int PRIMARY KEY, s set<text>, l list<int>, m map<text,text>, "
            "fm frozen<map<text,text>>, u address, v int)")
    full = "{'a','b'},[1,2,3],{'a':'1','b':'2'},{'f':'1'},{street:'s',zip:1,tags:{'t'},at:{lat:1,lon:1}},0"
    for row in range(1, 13):
        p.write("all", f"INSERT INTO lab.collections (id,s,l,m,fm,u,v) VALUES ({row},{full})")
    update = "UPDATE lab.collections SET {} WHERE id={}"
    cases = [
        ("elements added on different replicas", 1,
         [("only1", "s = s + {'x'}, l = l + [10], m['x'] = '10'"), ("only2", "s = s + {'y'}, l = [20] + l, m['y'] = '20'")]),
        ("collection overwritten on one replica, elements on another", 2,
         [("only1", "m = {'new':'1'}, s = {'new'}, l = [99]"), ("only2", "m['late'] = '2', s = s + {'late'}")]),
        ("element deleted on one replica", 3, [("only1", "s = s - {'a'}, m = m - {'a'}")]),
        ("same element written on two replicas", 4, [("only1", "m['a'] = 'one'"), ("only2", "m['a'] = 'two'")]),
        ("collection set to null on one replica", 5, [("without3", "s = null, l = null, m = null, fm = null, u = null")]),
        ("frozen collection replaced on one replica", 6, [("without1", "fm = {'f':'2'}")]),
        ("fields of a type written on different replicas", 7,
         [("only1", "u.zip = 7"), ("only2", "u.street = null"), ("only3", "u.at = {lat:9,lon:9}")]),
        ("list element replaced by index on one replica", 8, [("without2", "l[1] = 22")]),
        ("list element removed on one replica", 9, [("without2", "l = l - [2]")]),
        ("type replaced on one replica, field on another", 10,
         [("only1", "u = {street:'whole'}"), ("only2", "u.zip = 10")]),
        ("brief element on one replica", 11, [("only1", "v = 1")]),
    ]
    for name, row, writes in cases:
        for phase, change in writes:
            p.write(phase, update.format(change, row))
        p.conflict(name, f"SELECT JSON * FROM lab.collections WHERE id={row}")
    p.write("only1", "UPDATE lab.collections USING TTL 20 SET m['a'] = 'brief', s = s + {'brief'} WHERE id=11")
    p.write("only2", f"UPDATE lab.collections USING TTL {YEARS} SET m['long'] = 'x', l = l + [7] WHERE id=11")
    # The overwrite alone reaches one replica: its deletion must hide the others' elements.
    p.write("only3", f"UPDATE lab.collections USING TIMESTAMP {T + 10} SET m = {{}} WHERE id=20")
    p.write("only1", f"UPDATE lab.collections USING TIMESTAMP {T + 9} SET m['under'] = '1' WHERE id=20",
            f"UPDATE lab.collections USING TIMESTAMP {T + 11} SET m['over'] = '1' WHERE id=20")
    p.conflict("collection deletion on one replica hides elements of another",
               "SELECT JSON * FROM lab.collections WHERE id=20")


def counters(p):
    p.table("CREATE TABLE lab.counters (k int, c text, n counter, m counter, s counter static, PRIMARY KEY (k, c))")
    add = "UPDATE lab.counters SET n = n + {} WHERE k={} AND c='{}'"
    for k in range(1, 7):
        p.write("all", add.format(10, k, "a"))
    p.write("all", "UPDATE lab.counters SET s = s + 5 WHERE k=1", "UPDATE lab.counters SET m = m - 3 WHERE k=1 AND c='b'")
    for phase, amount in (("only1", 1), ("only2", 20), ("only3", -300), ("without1", 4000)):
        p.write(phase, add.format(amount, 1, "a"), "UPDATE lab.counters SET s = s + 7 WHERE k=1")
    p.write("only2", add.format(5, 2, "alone"))
    p.write("only1", "DELETE FROM lab.counters WHERE k=3 AND c='a'", "DELETE n FROM lab.counters WHERE k=4 AND c='a'",
            "DELETE FROM lab.counters WHERE k=5")
    p.write("only2", add.format(1, 4, "a"))
    p.write("end", add.format(1, 6, "a"), add.format(1, 6, "a"))
    p.conflict("counter shards of different nodes", "SELECT JSON * FROM lab.counters WHERE k=1")
    p.conflict("counter on one replica only", "SELECT JSON * FROM lab.counters WHERE k=2")
    p.conflict("counter row deleted on one replica", "SELECT JSON * FROM lab.counters WHERE k=3")
    p.conflict("counter cell deleted on one replica, added to on another", "SELECT JSON * FROM lab.counters WHERE k=4")


def expiring(p):
    p.table("CREATE TABLE lab.expiring (k int PRIMARY KEY, v text, w text, m map<text,int>)",
            f"CREATE TABLE lab.default_ttl (k int, c int, v text, PRIMARY KEY (k, c)) WITH default_time_to_live = {YEARS}")
    insert = "INSERT INTO lab.expiring (k,v) VALUES ({},'{}') USING TTL {}"
    p.write("all", insert.format(1, "gone everywhere", 20), insert.format(2, "alive", YEARS),
            "INSERT INTO lab.expiring (k,v,w) VALUES (3,'base','base')",
            "INSERT INTO lab.expiring (k,v,w) VALUES (4,'base','base')", insert.format(5, "short", 20),
            "INSERT INTO lab.expiring (k,v,w) VALUES (6,'base','kept')",
            f"UPDATE lab.expiring USING TTL {YEARS} SET m['x'] = 1 WHERE k=6")
    p.write("only1", "UPDATE lab.expiring USING TTL 20 SET v='brief' WHERE k=3", insert.format(7, "gone, one replica", 20),
            insert.format(8, "alive, one replica", YEARS))
    p.write("only2", f"UPDATE lab.expiring USING TTL {YEARS} SET v='long' WHERE k=4")
    p.write("without3", insert.format(5, "extended", YEARS))
    p.write("without2", "INSERT INTO lab.expiring (k,v,w) VALUES (6,'brief row','brief row') USING TTL 20")
    p.conflict("expired on one replica over an older value", "SELECT JSON * FROM lab.expiring WHERE k=3")
    p.conflict("alive with a TTL on one replica", "SELECT JSON * FROM lab.expiring WHERE k=4")
    p.conflict("TTL extended while a replica was down", "SELECT JSON * FROM lab.expiring WHERE k=5")
    p.conflict("row expired on two replicas, older row on the third", "SELECT JSON * FROM lab.expiring WHERE k=6")
    p.conflict("expiring row on one replica only", "SELECT JSON * FROM lab.expiring WHERE k=8")
    if p.unsigned:
        p.write("all", f"INSERT INTO lab.expiring (k,v,w) VALUES (20,'ends in 2046','ends in 2046') USING TTL {20 * 365 * 86400}")
        p.write("only3", f"UPDATE lab.expiring USING TTL {19 * 365 * 86400} SET v='ends in 2045', m['late']=1 WHERE k=20")
        p.conflict("times after 2038", "SELECT JSON * FROM lab.expiring WHERE k=20")
    for c in range(6):
        p.write(("all", "without1", "only2")[c % 3], f"INSERT INTO lab.default_ttl (k,c,v) VALUES (1,{c},'default')")
    p.write("without2", "INSERT INTO lab.default_ttl (k,c,v) VALUES (1,7,'never') USING TTL 0",
            "INSERT INTO lab.default_ttl (k,c,v) VALUES (1,8,'brief') USING TTL 20")
    p.conflict("default TTL, row missing on one replica", "SELECT JSON * FROM lab.default_ttl")


def deletions(p):
    p.table("CREATE TABLE lab.deletions (k int, c int, v text, w text, PRIMARY KEY (k, c)) "
            "WITH compression = {'class': 'ZstdCompressor'}")
    for k in range(1, 9):
        for c in range(4):
            p.write("all", f"INSERT INTO lab.deletions (k,c,v,w) VALUES ({k},{c},'v{c}','w')")
    cases = [
        ("cell deleted on one replica", 1, [("only1", "DELETE v FROM lab.deletions WHERE k=1 AND c=1")]),
        ("row deleted on one replica", 2, [("only2", "DELETE FROM lab.deletions WHERE k=2 AND c=1")]),
        ("partition deleted on one replica", 3, [("only3", "DELETE FROM lab.deletions WHERE k=3")]),
        ("row deleted while a replica was down", 4, [("without1", "DELETE FROM lab.deletions WHERE k=4 AND c=2")]),
        ("row deleted on one replica, written again on another", 5,
         [("only1", "DELETE FROM lab.deletions WHERE k=5 AND c=0"),
          ("only2", "UPDATE lab.deletions SET v='again' WHERE k=5 AND c=0")]),
        ("row written on one replica, then deleted on another", 6,
         [("only1", "INSERT INTO lab.deletions (k,c,v) VALUES (6,9,'doomed')"),
          ("only3", "DELETE FROM lab.deletions WHERE k=6 AND c=9")]),
        ("partition deleted on one replica, rows newer on another", 7,
         [("only1", "DELETE FROM lab.deletions WHERE k=7"),
          ("only2", "INSERT INTO lab.deletions (k,c,v) VALUES (7,1,'newer')")]),
        ("cell overwritten by null on one replica", 8, [("without3", "INSERT INTO lab.deletions (k,c,v) VALUES (8,1,null)")]),
    ]
    for name, k, writes in cases:
        for phase, statement in writes:
            p.write(phase, statement)
        p.conflict(name, f"SELECT JSON * FROM lab.deletions WHERE k={k}")
    # Partitions of which nothing but a deletion is known.
    p.write("all", "DELETE FROM lab.deletions WHERE k=100", "DELETE FROM lab.deletions WHERE k=101 AND c=1")
    p.write("only1", "DELETE FROM lab.deletions WHERE k=102")
    p.write("only2", "DELETE v FROM lab.deletions WHERE k=103 AND c=1",
            "DELETE FROM lab.deletions WHERE k=104 AND c>1")


def ranges(p):
    p.table("CREATE TABLE lab.ranges (k int, a int, b int, v int, PRIMARY KEY (k, a, b)) "
            "WITH CLUSTERING ORDER BY (a ASC, b DESC)")
    cases = [
        ("closed range deleted on one replica", [("only1", "a>=2 AND a<=4")]),
        ("open range deleted on one replica", [("only2", "a>2 AND a<4")]),
        ("half-open ranges, one side unbounded", [("only1", "a<2"), ("only2", "a>=5")]),
        ("overlapping ranges on different replicas", [("only1", "a>=1 AND a<4"), ("only2", "a>2 AND a<=6"), ("only3", "a=3")]),
        ("adjacent ranges on different replicas", [("only1", "a>=1 AND a<3"), ("only2", "a>=3 AND a<5")]),
        ("range inside another's range", [("only1", "a>=0 AND a<=7"), ("without2", "a=3 AND b>1")]),
        ("range of a prefix deleted on one replica", [("only3", "a=4")]),
        ("multi-column slice deleted on one replica", [("only1", "(a)>=(2) AND (a)<(3)")]),
        ("range with a bound on the second column", [("only2", "a=2 AND b>=1 AND b<3")]),
    ]
    for k, (name, writes) in enumerate(cases, 1):
        for a in range(8):
            for b in range(4):
                p.write("all", f"INSERT INTO lab.ranges (k,a,b,v) VALUES ({k},{a},{b},{a * 10 + b})")
        for phase, where in writes:
            p.write(phase, f"DELETE FROM lab.ranges WHERE k={k} AND {where}")
        p.conflict(name, f"SELECT JSON * FROM lab.ranges WHERE k={k}")
    # A row written on one replica after the range went on another, and one written before it.
    p.write("only3", "INSERT INTO lab.ranges (k,a,b,v) VALUES (1,3,9,-1)")
    p.write("only1", "INSERT INTO lab.ranges (k,a,b,v) VALUES (2,3,9,-1)")
    # A deletion of the partition over ranges that are older, and younger.
    p.write("all", f"DELETE FROM lab.ranges USING TIMESTAMP {T + 5} WHERE k=50 AND a>=1 AND a<3",
            f"INSERT INTO lab.ranges (k,a,b,v) VALUES (50,2,2,2) USING TIMESTAMP {T + 7}",
            f"INSERT INTO lab.ranges (k,a,b,v) VALUES (50,5,5,5) USING TIMESTAMP {T + 7}")
    p.write("only2", f"DELETE FROM lab.ranges USING TIMESTAMP {T + 6} WHERE k=50")
    p.write("only3", f"DELETE FROM lab.ranges USING TIMESTAMP {T + 8} WHERE k=50 AND a>4")
    p.conflict("range, row and partition deletions of rising times", "SELECT JSON * FROM lab.ranges WHERE k=50")


def ties(p):
    """Equal time stamps: the value must not depend on who is asked first."""
    p.table("CREATE TABLE lab.ties (k int, c int, v text, m map<text,text>, n int, PRIMARY KEY (k, c))")
    at = f"USING TIMESTAMP {T}"

    def insert(k, value, ttl=None):
        return f"INSERT INTO lab.ties (k,c,v) VALUES ({k},1,'{value}') {at}" + (f" AND TTL {ttl}" if ttl else "")

    def update(k, change, ttl=None):
        return f"UPDATE lab.ties {at}" + (f" AND TTL {ttl}" if ttl else "") + f" SET {change} WHERE k={k} AND c=1"

    def delete(k, what="", where=" AND c=1"):
        return f"DELETE {what} FROM lab.ties {at} WHERE k={k}{where}"

    cases = [
        ("value against value", [update(1, "v='aaa', n=1"), update(1, "v='bbb', n=-1"), update(1, "v='b', n=0")]),
        ("value against cell deletion", [update(2, "v='zzz'"), delete(2, "v")]),
        ("value against row deletion", [insert(3, "zzz"), delete(3)]),
        ("value against partition deletion", [insert(4, "zzz"), delete(4, where="")]),
        ("value against range deletion", [insert(5, "zzz"), delete(5, where=" AND c>0 AND c<9")]),
        ("live against expiring", [insert(6, "zzz"), insert(6, "aaa", YEARS)]),
        ("live against expired", [insert(7, "zzz"), insert(7, "aaa", 20)]),
        ("expiring with different ends", [insert(8, "zzz", YEARS), insert(8, "aaa", YEARS + 86400)]),
        ("expired against expiring", [insert(9, "zzz", 20), insert(9, "aaa", YEARS)]),
        ("expired against cell deletion", [update(10, "v='zzz'", 20), delete(10, "v"), insert(10, "older").replace(str(T), str(T - 1))]),
        ("expiring against row deletion", [insert(11, "zzz", YEARS), delete(11)]),
        ("element against collection deletion", [update(12, "m['a']='1'"), update(12, "m={'b':'2'}")]),
        ("element against element", [update(13, "m['a']='1'"), update(13, "m['a']='2'"), update(13, "m['a']=null")]),
        ("empty against value", [update(14, "v=''"), update(14, "v='a'")]),
        ("null row against value", [f"INSERT INTO lab.ties (k,c,v,n) VALUES (15,1,null,1) {at}", insert(15, "x")]),
    ]
    for name, writes in cases:
        k = cases.index((name, writes)) + 1
        for node, statement in enumerate(writes, 1):
            p.write(f"only{node}", statement)
        p.conflict(f"equal times: {name}", f"SELECT JSON k,c,v,n,m FROM lab.ties WHERE k={k}")
    # Deletions of one write time, made at different seconds: the later one must win on every replica.
    p.write("all", insert(20, "covered"))
    p.write("only1", delete(20), delete(21, where=""), delete(22, where=" AND c>=0 AND c<5"), delete(23, "m"))
    p.write("only3", delete(20), delete(21, where=""), delete(22, where=" AND c>=0 AND c<5"), delete(23, "m"))
    p.conflict("deletions of equal write time", "SELECT JSON * FROM lab.ties WHERE k=20")


def liveness(p):
    p.table("CREATE TABLE lab.liveness (k int, c int, v int, w int, PRIMARY KEY (k, c))")
    p.write("all", "UPDATE lab.liveness SET v=1 WHERE k=1 AND c=1", "INSERT INTO lab.liveness (k,c) VALUES (1,2)",
            "UPDATE lab.liveness SET v=1 WHERE k=2 AND c=1", "INSERT INTO lab.liveness (k,c,v) VALUES (3,1,1)",
            "UPDATE lab.liveness SET v=1 WHERE k=4 AND c=1", "UPDATE lab.liveness SET v=1 WHERE k=5 AND c=1")
    p.write("only1", "DELETE v FROM lab.liveness WHERE k=2 AND c=1", "DELETE v FROM lab.liveness WHERE k=3 AND c=1",
            "INSERT INTO lab.liveness (k,c) VALUES (4,1) USING TTL 20")
    p.write("only2", f"INSERT INTO lab.liveness (k,c) VALUES (5,1) USING TTL {YEARS}",
            "UPDATE lab.liveness SET w=1 WHERE k=6 AND c=1")
    p.write("only3", "INSERT INTO lab.liveness (k,c) VALUES (6,1)")
    p.write("end", "DELETE v FROM lab.liveness WHERE k=4 AND c=1", "DELETE v FROM lab.liveness WHERE k=5 AND c=1")
    p.conflict("row without liveness emptied on one replica", "SELECT JSON * FROM lab.liveness WHERE k=2")
    p.conflict("row with liveness emptied on one replica", "SELECT JSON * FROM lab.liveness WHERE k=3")
    p.conflict("row alive by an expiring liveness on one replica", "SELECT JSON * FROM lab.liveness WHERE k=5")
    p.conflict("liveness on one replica, cells on another", "SELECT JSON * FROM lab.liveness WHERE k=6")
    p.feature("row made by UPDATE only", "SELECT JSON * FROM lab.liveness WHERE k=1 AND c=1")
    p.feature("row of a key alone", "SELECT JSON * FROM lab.liveness WHERE k=1 AND c=2")


def dropped(p):
    p.table("CREATE TABLE lab.dropped (k int, c int, gone text, gone_map map<text,int>, gone_static int static, again int, v int, "
            "PRIMARY KEY (k, c))",
            "CREATE TABLE lab.reborn (k int PRIMARY KEY, old text)",
            "CREATE TYPE lab.grown (a int)", "CREATE TABLE lab.altered (k int PRIMARY KEY, u grown, fu frozen<grown>)")
    for k in range(1, 4):
        p.write("all", f"INSERT INTO lab.dropped (k,c,gone,gone_map,gone_static,again,v) VALUES ({k},1,'g',{{'x':1}},5,1,1)",
                f"INSERT INTO lab.reborn (k,old) VALUES ({k},'first life')",
                f"INSERT INTO lab.altered (k,u,fu) VALUES ({k},{{a:{k}}},{{a:{k}}})")
    p.write("without1", "UPDATE lab.dropped SET gone='h', again=2 WHERE k=1 AND c=1",
            "UPDATE lab.dropped SET gone='only cell', again=3 WHERE k=9 AND c=1")
    # Written before the drop with a time after it: the column comes back with this value.
    p.write("only2", "UPDATE lab.dropped USING TIMESTAMP 4000000000000000 SET again=77 WHERE k=2 AND c=1")
    p.change("ALTER TABLE lab.dropped DROP gone", "ALTER TABLE lab.dropped DROP gone_map",
             "ALTER TABLE lab.dropped DROP gone_static", "ALTER TABLE lab.dropped DROP again",
             "ALTER TABLE lab.dropped ADD again int", "ALTER TABLE lab.dropped ADD added set<int>",
             "DROP TABLE lab.reborn", "CREATE TABLE lab.reborn (k int PRIMARY KEY, new int)",
             "ALTER TYPE lab.grown ADD b text")
    p.write("end", "UPDATE lab.dropped SET again=42 WHERE k=3 AND c=1", "UPDATE lab.dropped SET added={1} WHERE k=1 AND c=1",
            "INSERT INTO lab.reborn (k,new) VALUES (1,2)", "UPDATE lab.altered SET u.b='b', fu={a:1,b:'b'} WHERE k=1")
    p.feature("column dropped, with older data", "SELECT JSON * FROM lab.dropped WHERE k=1")
    p.feature("column dropped and added again", "SELECT JSON * FROM lab.dropped WHERE k=3")
    p.feature("table dropped and created again", "SELECT JSON * FROM lab.reborn")
    p.feature("type grown by a field", "SELECT JSON * FROM lab.altered")
    p.conflict("cell of a dropped column younger than the drop", "SELECT JSON * FROM lab.dropped WHERE k=2")


def views(p):
    p.table("CREATE TABLE lab.people (id int PRIMARY KEY, city text, name text)",
            "CREATE MATERIALIZED VIEW lab.people_by_city AS SELECT * FROM lab.people WHERE city IS NOT NULL AND "
            "id IS NOT NULL PRIMARY KEY (city, id)",
            "CREATE TABLE lab.indexed (id int PRIMARY KEY, city text, age int)",
            "CREATE INDEX indexed_city ON lab.indexed (city)")
    tables = ["people", "indexed"]
    if p.modern:
        p.table("CREATE TABLE lab.sai (id int PRIMARY KEY, city text, age int)",
                "CREATE INDEX sai_city ON lab.sai (city) USING 'sai'", "CREATE INDEX sai_age ON lab.sai (age) USING 'sai'")
        tables.append("sai")
    for table in tables:
        other = "name" if table == "people" else "age"
        for row in range(20):
            value = f"'n{row}'" if table == "people" else row
            p.write(("all", "all", "without1", "without2", "without3")[row % 5],
                    f"INSERT INTO lab.{table} (id,city,{other}) VALUES ({row},'city{row % 4}',{value})")
        p.write("only1", f"UPDATE lab.{table} SET city='moved' WHERE id=0", f"DELETE FROM lab.{table} WHERE id=1")
        p.conflict(f"rows of {table} differ", f"SELECT JSON * FROM lab.{table}")


def layouts(p):
    """The ways files come to lie: compressors, compaction strategies, none."""
    layouts = {
        "deflate_lcs": "compression = {'class': 'DeflateCompressor', 'chunk_length_in_kb': 64} AND "
                       "compaction = {'class': 'LeveledCompactionStrategy', 'sstable_size_in_mb': 5}",
        "plain_twcs": "compression = {'enabled': false} AND compaction = {'class': 'TimeWindowCompactionStrategy', "
                      "'compaction_window_unit': 'DAYS', 'compaction_window_size': 1}",
        "snappy": "compression = {'class': 'SnappyCompressor', 'chunk_length_in_kb': 4}",
        "zstd": "compression = {'class': 'ZstdCompressor', 'compression_level': 7, 'chunk_length_in_kb': 32}",
    }
    if p.modern:
        layouts["unified"] = "compaction = {'class': 'UnifiedCompactionStrategy'}"
    for table, options in layouts.items():
        p.table(f"CREATE TABLE lab.{table} (k int, c int, v text, PRIMARY KEY (k, c)) WITH {options}")
        for row in range(40):
            text = f"row {row} of {table}, " * 8
            p.write(("all", "all", "all", "without1", "without2", "without3")[row % 6],
                    f"INSERT INTO lab.{table} (k,c,v) VALUES ({row % 5},{row},'{text}')")
        p.write("without1", f"INSERT INTO lab.{table} (k,c,v) VALUES (0,0,'newer')")
        p.conflict(f"rows of {table} differ", f"SELECT JSON * FROM lab.{table}")


def wide(p):
    """Partitions of more than 64 KiB, so that their index entries are promoted, under open ranges."""
    p.table("CREATE TABLE lab.wide (k int, c int, v text, s text static, PRIMARY KEY (k, c)) "
            "WITH CLUSTERING ORDER BY (c DESC)")
    for k in (1, 2):
        p.write("all", f"INSERT INTO lab.wide (k,s) VALUES ({k},'static')")
        for c in range(600):
            p.write("without1" if c % 19 == 0 else "all",
                    f"INSERT INTO lab.wide (k,c,v) VALUES ({k},{c},'{'wide row %05d ' % c * 20}')")
    # Rows younger than the range they lie in: it stays open across blocks of the index.
    p.write("all", f"DELETE FROM lab.wide USING TIMESTAMP {T} WHERE k=3 AND c>=50 AND c<550")
    for c in range(600):
        p.write("without3" if c % 23 == 0 else "all",
                f"INSERT INTO lab.wide (k,c,v) VALUES (3,{c},'{'wide row %05d ' % c * 20}') USING TIMESTAMP {T + c % 2}")
    p.write("only2", f"DELETE FROM lab.wide USING TIMESTAMP {T} WHERE k=3 AND c>=500")
    p.write("without2", "DELETE FROM lab.wide WHERE k=1 AND c>=50 AND c<550", "DELETE FROM lab.wide WHERE k=2 AND c<300")
    p.write("only1", "INSERT INTO lab.wide (k,c,v) VALUES (1,300,'inside the range')",
            "DELETE FROM lab.wide WHERE k=2 AND c>200 AND c<=400")
    p.write("only3", "DELETE FROM lab.wide WHERE k=1 AND c>500")
    p.conflict("open range over a wide partition", "SELECT JSON * FROM lab.wide WHERE k=1")
    p.conflict("older ranges over a wide partition, joined across replicas", "SELECT JSON * FROM lab.wide WHERE k=3")
    p.conflict("overlapping ranges over a wide partition", "SELECT JSON * FROM lab.wide WHERE k=2")


def big_values(p):
    p.table("CREATE TABLE lab.big_values (k int PRIMARY KEY, t text, b blob)")
    p.write("all", f"INSERT INTO lab.big_values (k,t) VALUES (1,'{'a big value, ' * (p.big // 13)}')",
            f"INSERT INTO lab.big_values (k,b) VALUES (2,0x{'00112233' * (p.big // 20)})")
    p.write("without3", f"INSERT INTO lab.big_values (k,t) VALUES (3,'{'missing on one, ' * (p.big // 20)}')")
    p.conflict("big value missing on one replica", "SELECT JSON k FROM lab.big_values WHERE k=3")


def client_times(p):
    p.table("CREATE TABLE lab.client_times (k int PRIMARY KEY, v text)")
    future, millis = 4_102_444_800_000_000, 1_700_000_000_000
    p.write("all", f"INSERT INTO lab.client_times (k,v) VALUES (1,'milliseconds') USING TIMESTAMP {millis}",
            f"INSERT INTO lab.client_times (k,v) VALUES (2,'future') USING TIMESTAMP {future}",
            "INSERT INTO lab.client_times (k,v) VALUES (3,'zero') USING TIMESTAMP 0",
            "INSERT INTO lab.client_times (k,v) VALUES (4,'negative') USING TIMESTAMP -5",
            f"INSERT INTO lab.client_times (k,v) VALUES (5,'future') USING TIMESTAMP {future}")
    p.write("without2", f"INSERT INTO lab.client_times (k,v) VALUES (1,'later') USING TIMESTAMP {millis + 1}",
            "UPDATE lab.client_times SET v='too old to win' WHERE k=2")
    p.write("only3", "DELETE FROM lab.client_times WHERE k=5",
            f"DELETE FROM lab.client_times USING TIMESTAMP {future + 1} WHERE k=2")
    p.conflict("times in milliseconds", "SELECT JSON * FROM lab.client_times WHERE k=1")
    p.conflict("deletion in the future", "SELECT JSON * FROM lab.client_times WHERE k=2")
    p.feature("deletion that loses to the future", "SELECT JSON * FROM lab.client_times WHERE k=5")
    p.feature("time stamps that are not positive", "SELECT JSON * FROM lab.client_times WHERE k=4")
