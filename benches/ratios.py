"""What is measured, and what has to come out.

A series is a command to one of the peers; without `items` its samples are made
as long as the others. A ratio is the first series' rate over so many times the
second's; a floor of None is shown and not judged, a goal is what it should
become. What only `make bench-all` measures is in MORE and MORE_RATIOS.
"""

SERIES = {
    "int": {"peer": "driver", "ask": "sample int fresh 1 {items}"},
    "python map 1": {"peer": "python", "ask": "sample int map 1 {items}"},
    "int loop": {"peer": "local", "ask": "loop int fresh {items}"},
    "int bare": {"peer": "local", "ask": "bare int pooled 1 {items}"},
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
    ("int, fresh, chunksize 1 ÷ `Pool.map(chunksize=1)`", "int", "python map 1", 1, 12, 20),
    ("the same, whole commands over a JSON file", "command few", "script few", 1, 12, 20),
    ("bytes, fresh, chunksize 1 ÷ `Pool.map(chunksize=1)`", "bytes", "python bytes 1", 1, 10, 15),
    ("component `list<u8>`, fresh, chunksize 1 ÷ `Pool.map(chunksize=1)`", "component", "python bytes 1", 1, 5, 8),
    ("int, fresh, chunksize 1 ÷ `Pool.imap`", "int", "python imap", 1, 20, 40),
    ("int, fresh, chunksize 1 ÷ 2 × loop of wasmtime alone, a new instance each", "int", "int bare", 2, 0.75, 0.9),
    ("int, fresh, chunksize 1 ÷ 2 × loop without a pool", "int", "int loop", 2, None, None),
    ("bytes, fresh, chunksize 1 ÷ 2 × loop without a pool", "bytes", "bytes loop", 2, None, None),
    ("component, fresh, chunksize 1 ÷ 2 × loop without a pool", "component", "component loop", 2, None, None),
    ("int, fresh, chunksize 1 ÷ default chunks (Python's formula)", "int", "int python", 1, 0.70, 0.9),
    ("int, fresh, chunksize 1 ÷ auto chunks", "int", "int auto", 1, 0.70, 0.9),
    ("int, fresh, chunksize 1 ÷ window of 1", "int", "int single", 1, 1.6, 2.2),
    ("after an initializer of 500 ms, fresh, chunksize 1 ÷ without one", "initialised", "uninitialised", 1, 1 / 1.5, None),
    ("int by typed map, reuse, default chunks ÷ `Pool.map` default", "reuse python", "python map default", 1, 3, 7),
    ("int by typed map, reuse, auto chunks ÷ `Pool.map` default", "reuse auto", "python map default", 1, None, None),
    ("int, reuse, chunksize 1 ÷ `Pool.map(chunksize=1)`", "reuse 1", "python map 1", 1, None, None),
    ("int, fresh, default chunks ÷ `Pool.map` default (no sandbox there)", "int python", "python map default", 1, 0.09, 0.15),
    ("latency of `apply`: Python ÷ ours", "apply", "python apply", 1, 5, 8),
    ("16 MiB echo, fresh, chunksize 1 ÷ `Pool.map(chunksize=1)`", "echo", "python echo", 1, 2.5, 4),
    ("whole command, one item, warm cache: Python script ÷ ours", "command one", "script one", 1, 6, 12),
    ("whole command over a JSON file ÷ library", "command file", "library", 1, 0.7, 0.9),
]

MORE = {
    "python unordered": {"peer": "python", "ask": "sample int unordered 1 {items}"},
    "executor": {"peer": "executor", "ask": "sample 1 {items}"},
    "joblib": {"peer": "joblib", "ask": "sample 1 {items}"},
    "mpire": {"peer": "mpire", "ask": "sample 1 {items}"},
    "pebble": {"peer": "pebble", "ask": "sample 1 {items}"},
    "piscina": {"peer": "piscina", "ask": "sample 1 {items}", "most": 100_000},
    "piscina 16": {"peer": "piscina", "ask": "sample 16 {items}", "most": 100_000},
    "extism": {"peer": "extism", "ask": "sample fresh {items}"},
    "extism reuse": {"peer": "extism", "ask": "sample reuse {items}"},
    "wasmtime run": {"peer": "pipes", "ask": "xargs {items}", "items": 300, "rounds": 3},
    "parallel": {"peer": "pipes", "ask": "parallel {items}", "items": 100, "rounds": 3},
    "echo 64K": {"peer": "driver", "ask": "sample echo:65536 fresh 1 {items}"},
    "python echo 64K": {"peer": "python", "ask": "sample echo:65536 map 1 {items}"},
    "echo 1M": {"peer": "driver", "ask": "sample echo:1048576 fresh 1 {items}", "items": 400},
    "python echo 1M": {"peer": "python", "ask": "sample echo:1048576 map 1 {items}", "items": 100},
    "busy": {"peer": "driver", "ask": "sample busy fresh 1 {items}"},
    "busy one": {"peer": "driver", "ask": "sample busy one 1 {items}"},
    "busy loop": {"peer": "local", "ask": "loop busy fresh {items}"},
    "threads": {"peer": "local", "ask": "bare bytes pooled 2 {items}"},
    "on demand": {"peer": "local", "ask": "bare bytes on-demand 1 {items}"},
    "script file": {"peer": "command", "ask": "python file ints.json out.json default {items}", "items": ("ints",)},
}

MORE_RATIOS = [
    ("int, fresh, chunksize 1 ÷ `Pool.imap_unordered`", "int", "python unordered", 1, 20, 40),
    ("int, fresh, chunksize 1 ÷ `ProcessPoolExecutor.map(chunksize=1)`", "int", "executor", 1, 20, 40),
    ("int, fresh, chunksize 1 ÷ joblib (loky), `batch_size=1`", "int", "joblib", 1, None, None),
    ("int, fresh, chunksize 1 ÷ mpire, `chunk_size=1`", "int", "mpire", 1, None, None),
    ("int, fresh, chunksize 1 ÷ Pebble, `chunksize=1`", "int", "pebble", 1, None, None),
    ("int, fresh, chunksize 1 ÷ piscina", "int", "piscina", 1, 8, 14),
    ("int, fresh, chunksize 1 ÷ piscina, 16 tasks waiting in each worker", "int", "piscina 16", 1, None, None),
    ("int, fresh, chunksize 1 ÷ Extism, a new plugin each, 2 processes", "int", "extism", 1, 14, 25),
    ("int, reuse, chunksize 1 ÷ Extism, one plugin, 2 processes", "reuse 1", "extism reuse", 1, None, None),
    ("int, fresh, chunksize 1 ÷ `xargs -P2 wasmtime run`, compiled ahead", "int", "wasmtime run", 1, 300, 800),
    ("int, fresh, chunksize 1 ÷ `parallel -j2 wasmtime run`, compiled ahead", "int", "parallel", 1, None, None),
    ("64 KiB echo, fresh, chunksize 1 ÷ `Pool.map(chunksize=1)`", "echo 64K", "python echo 64K", 1, 25, 50),
    ("1 MiB echo, fresh, chunksize 1 ÷ `Pool.map(chunksize=1)`", "echo 1M", "python echo 1M", 1, 4, 6),
    ("tasks of 1 ms: 2 workers ÷ 1", "busy", "busy one", 1, 1.85, 1.95),
    ("tasks of 1 ms: 2 workers ÷ 2 × loop without a pool", "busy", "busy loop", 2, 0.93, 0.97),
    ("bytes: 2 workers, wire included ÷ 2 threads of one process, no wire", "bytes", "threads", 1, 1.15, 1.35),
    ("bytes, fresh, loop ÷ the same with wasmtime's default allocator", "bytes loop", "on demand", 1, 3, 5),
    ("whole command over a JSON file ÷ Python script, default chunks, no sandbox", "command file", "script file", 1, None, None),
]

# Measured by other means; what has to come out is an upper bound, or a lower
# one where it says so.
MEMORY = [
    ("pss", "memory of a worker (PSS) ÷ Python Pool's", 1.5, 1.0),
    ("rss", "peak memory of the host, 1 M objects streamed by `--imap`, MiB", 64, 24),
    ("walls", "start of a worker with lock-down − without, ms", 1.5, None),
    ("tasks", "int, fresh, chunksize 1 ÷ the same without lock-down", 0.97, None),
    ("start", "start of a 5 MiB module from the cache ÷ first start", 1 / 50, 1 / 400),
]
