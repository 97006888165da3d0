#!/usr/bin/env python3
"""An echo service three ways, under the same load:

  wpool    wpool run benches/guests/echo.wat --listen, 5 workers
  Pool     Python's chat server: the parent accepts, pool.apply_async(talk, (conn,)), 5 processes
  threads  a Rust program with a thread for each connection

    cargo build --release --bins --examples && benches/echo.py

Prints one table: connections with one message each, and long talks.
"""

import argparse
import json
import multiprocessing
import pathlib
import re
import socket
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
WPOOL = ROOT / "target/release/wpool"
PEERS = ROOT / "target/release/examples/bench-echo"
WORKERS = 5


def talk(conn):
    """Python's side: one connection, until its client has no more to say."""
    with conn:
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while text := conn.recv(65536):
            conn.sendall(text)
        # The parent still holds its copy: only this is an end to the client.
        conn.shutdown(socket.SHUT_WR)


def chat_server():
    """The tutorial's server; the parent's loop accepts."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(f"{listener.getsockname()[0]}:{listener.getsockname()[1]}", flush=True)
    with multiprocessing.Pool(WORKERS) as pool:
        while True:
            conn, _address = listener.accept()
            pool.apply_async(talk, (conn,))


def start(name):
    """Starts a server: the process, and where it listens."""
    if name == "wpool":
        guest = ROOT / "benches/guests/echo.wat"
        line = [WPOOL, "run", guest, "--listen", "127.0.0.1:0", "-j", str(WORKERS), "-o", "/dev/null"]
        server = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
        for text in server.stderr:
            if found := re.search(r"listening at (\S+)", text):
                return server, found[1]
        sys.exit("wpool did not start")
    line = [PEERS, "serve"] if name == "threads" else [sys.executable, __file__, "--chat-server"]
    server = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    return server, server.stdout.readline().strip()


def measure(name, clients, connections, messages):
    server, address = start(name)
    try:
        load = [PEERS, "clients", address, str(clients), str(connections), str(messages)]
        # The first connections start processes, and are not counted.
        subprocess.run([PEERS, "clients", address, str(WORKERS), "50", "1"], check=True, stdout=subprocess.DEVNULL)
        return json.loads(subprocess.run(load, check=True, stdout=subprocess.PIPE, text=True).stdout)
    finally:
        server.terminate()
        server.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=5000, help="with one message each")
    parser.add_argument("--messages", type=int, default=20000, help="in each of as many talks as there are workers")
    parser.add_argument("--rounds", type=int, default=3, help="of which the best counts")
    parser.add_argument("--chat-server", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.chat_server:
        return chat_server()
    print("| server | connections/s | p50 | p99 | messages/s | p50 | p99 |")
    print("|---|---|---|---|---|---|---|")
    for name in ["wpool", "Pool", "threads"]:
        rounds = range(arguments.rounds)
        short = [measure(name, WORKERS, arguments.connections, 1) for _ in rounds]
        long = [measure(name, WORKERS, WORKERS, arguments.messages) for _ in rounds]
        short = max(short, key=lambda seen: seen["connections_per_s"])
        long = max(long, key=lambda seen: seen["messages_per_s"])
        print(
            f"| {name} | {short['connections_per_s']:.0f} | {short['connection_p50_us']:.0f} µs"
            f" | {short['connection_p99_us']:.0f} µs | {long['messages_per_s']:.0f}"
            f" | {long['message_p50_us']:.0f} µs | {long['message_p99_us']:.0f} µs |",
            flush=True,
        )


if __name__ == "__main__":
    main()
