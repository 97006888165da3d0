"""What is measured, and what has to come out.

A series is a command to one of the peers; without `items` its samples are made
as long as the others. A ratio is the first series' rate over so many times the
second's; a floor of None is shown and not judged.
"""

SERIES = {
    "int": {"peer": "driver", "ask": "sample int fresh 1 {items}"},
    "python map 1": {"peer": "python", "ask": "sample int map 1 {items}"},
    "int loop": {"peer": "local", "ask": "loop int fresh {items}"},
    "int python": {"peer": "driver", "ask": "sample int fresh python {items}"},
    "int auto": {"peer": "driver", "ask": "sample int fresh auto {items}"},
    "int single": {"peer": "driver", "ask": "sample int single 1 {items}"},
    "python imap": {"peer": "python", "ask": "sample int imap 1 {items}"},
    "initialised": {"peer": "driver", "ask": "sample ready initialised 1 {items}"},
    "uninitialised": {"peer": "driver", "ask": "sample ready fresh 1 {items}"},
    "bytes": {"peer": "driver", "ask": "sample bytes fresh 1 {items}"},
    "python bytes 1": {"peer": "python", "ask": "sample bytes map 1 {items}"},
    "bytes loop": {"peer": "local", "ask": "loop bytes fresh {items}"},
    "component": {"peer": "driver", "ask": "sample component fresh 1 {items}"},
    "component loop": {"peer": "local", "ask": "loop component fresh {items}"},
    "reuse python": {"peer": "driver", "ask": "map reuse python {items}"},
    "python map default": {"peer": "python", "ask": "sample int map default {items}", "most": 3_000_000},
    "reuse auto": {"peer": "driver", "ask": "map reuse auto {items}"},
    "reuse 1": {"peer": "driver", "ask": "sample int reuse 1 {items}"},
    "reuse loop": {"peer": "local", "ask": "loop int reuse {items}"},
    "apply": {"peer": "driver", "ask": "apply int {items}"},
    "python apply": {"peer": "python", "ask": "apply int {items}"},
    "echo": {"peer": "driver", "ask": "sample echo:16777216 fresh 1 {items}", "items": 12},
    "python echo": {"peer": "python", "ask": "sample echo:16777216 map 1 {items}", "items": 6},
    "command one": {"peer": "command", "ask": "wpool int.wat --apply 7 {items}", "items": 20},
    "script one": {"peer": "command", "ask": "python one 7 {items}", "items": 4},
    "command file": {"peer": "command", "ask": "wpool int.wat --map ints.json -o out.json {items}", "items": ("ints",)},
    "library": {"peer": "driver", "ask": "sample int fresh auto {items}"},
    "command few": {
        "peer": "command",
        "ask": "wpool int.wat --map few.json --chunksize 1 -o out.json {items}",
        "items": ("few",),
    },
    "script few": {"peer": "command", "ask": "python file few.json out.json 1 {items}", "items": ("few",), "rounds": 3},
}

RATIOS = [
    ("int, fresh, chunksize 1 ÷ `Pool.map(chunksize=1)`", "int", "python map 1", 1, 12),
    ("the same, whole commands over a JSON file", "command few", "script few", 1, 12),
    ("bytes, fresh, chunksize 1 ÷ `Pool.map(chunksize=1)`", "bytes", "python bytes 1", 1, 10),
    ("component `list<u8>`, fresh, chunksize 1 ÷ `Pool.map(chunksize=1)`", "component", "python bytes 1", 1, 5),
    ("int, fresh, chunksize 1 ÷ `Pool.imap`", "int", "python imap", 1, 20),
    ("int, fresh, chunksize 1 ÷ 2 × loop without a pool", "int", "int loop", 2, 0.75),
    ("bytes, fresh, chunksize 1 ÷ 2 × loop without a pool", "bytes", "bytes loop", 2, None),
    ("component, fresh, chunksize 1 ÷ 2 × loop without a pool", "component", "component loop", 2, None),
    ("int, fresh, chunksize 1 ÷ default chunks (Python's formula)", "int", "int python", 1, 0.70),
    ("int, fresh, chunksize 1 ÷ auto chunks", "int", "int auto", 1, 0.70),
    ("int, fresh, chunksize 1 ÷ window of 1", "int", "int single", 1, 1.6),
    ("after an initializer of 500 ms, fresh, chunksize 1 ÷ without one", "initialised", "uninitialised", 1, 1 / 1.5),
    ("int by typed map, reuse, default chunks ÷ `Pool.map` default", "reuse python", "python map default", 1, 3),
    ("int by typed map, reuse, auto chunks ÷ `Pool.map` default", "reuse auto", "python map default", 1, None),
    ("int, reuse, chunksize 1 ÷ `Pool.map(chunksize=1)`", "reuse 1", "python map 1", 1, None),
    ("int, fresh, default chunks ÷ `Pool.map` default (no sandbox there)", "int python", "python map default", 1, 0.09),
    ("latency of `apply`: Python ÷ ours", "apply", "python apply", 1, 5),
    ("16 MiB echo, fresh, chunksize 1 ÷ `Pool.map(chunksize=1)`", "echo", "python echo", 1, 2.5),
    ("whole command, one item, warm cache: Python script ÷ ours", "command one", "script one", 1, 6),
    ("whole command over a JSON file ÷ library", "command file", "library", 1, 0.7),
]

# Measured by other means; what has to come out is an upper bound, or a lower
# one where it says so.
MEMORY = [
    ("pss", "memory of a worker (PSS) ÷ Python Pool's", 1.5),
    ("rss", "peak memory of the host, 1 M objects streamed by `--imap`, MiB", 64),
    ("walls", "start of a worker with lock-down − without, ms", 1.5),
    ("tasks", "int, fresh, chunksize 1 ÷ the same without lock-down", 0.97),
    ("start", "start of a 5 MiB module from the cache ÷ first start", 1 / 50),
]
