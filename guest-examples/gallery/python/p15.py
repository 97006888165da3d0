"""P15: tasks that each serve a port, by every kind of call."""
import socket
import time
from multiprocessing import Pool
from threading import Thread

# Longer than anything here takes, in seconds.
LONG = 60
socket.setdefaulttimeout(LONG)


def serve(port):
    with socket.create_server(("127.0.0.1", port)) as server:
        stream, _ = server.accept()
        with stream, stream.makefile("rw") as lines:
            print(f"this is port {port}", file=lines, flush=True)
            heard = lines.readline().rstrip()
            print(f"you said {heard}", file=lines, flush=True)
            return heard


# Those that have all servers wait at once.
AT_ONCE = {
    "apply_async": lambda pool, ports: [call.get() for call in [pool.apply_async(serve, (port,)) for port in ports]],
    "map": lambda pool, ports: pool.map(serve, ports, 1),
    "map_async": lambda pool, ports: pool.map_async(serve, ports, 1).get(),
    "imap": lambda pool, ports: pool.imap(serve, ports),
    "imap_unordered": lambda pool, ports: sorted(pool.imap_unordered(serve, ports)),
    "starmap": lambda pool, ports: pool.starmap(serve, [(port,) for port in ports], 1),
    "starmap_async": lambda pool, ports: pool.starmap_async(serve, [(port,) for port in ports], 1).get(),
}


def visited(name, call, visit):
    """Calls `serve`, while somebody visits the ports; tells what both heard."""
    seen = []
    visitor = Thread(target=lambda: seen.append(visit()))
    visitor.start()
    heard = list(call(pool, ports))
    visitor.join()
    print(f"{name}: {', '.join(heard)}; {seen[0]}")


def one_after_the_other():
    """Visits one port after the other. Nobody serves those that come later."""
    for number, port in enumerate(ports):
        client = served(port)
        for later in ports[number + 1 :]:
            with socket.socket() as knock:
                assert knock.connect_ex(("127.0.0.1", later)) != 0
        talk(client, number)
    return "in the order of the ports"


def all_together():
    """Knocks at all ports, the last one first, before it talks to anybody."""
    last_first = list(reversed(list(enumerate(ports))))
    clients = [served(port) for _, port in last_first]
    for (number, _), client in zip(last_first, clients):
        talk(client, number)
    return "all at once"


def served(port):
    """A connection to a port, once somebody serves it."""
    until = time.monotonic() + LONG
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            assert time.monotonic() < until
            time.sleep(0.002)


def talk(client, number):
    """What a visitor and a server say."""
    with client, client.makefile("rw") as lines:
        assert lines.readline() == f"this is port {ports[number]}\n"
        print(f"hello {number}", file=lines, flush=True)
        assert lines.readline() == f"you said hello {number}\n"


def free_ports(count):
    """Ports that the system says are free."""
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    numbers = [server.getsockname()[1] for server in taken]
    for server in taken:
        server.close()
    return numbers


if __name__ == "__main__":
    ports = free_ports(3)
    with Pool(len(ports)) as pool:
        visited("apply", lambda pool, ports: [pool.apply(serve, (port,)) for port in ports], one_after_the_other)
        for name, call in AT_ONCE.items():
            visited(name, call, all_together)
