"""P16: a chat server. The parent accepts, a pool of five talks."""
import socket
from multiprocessing import Pool


def talk(conn):
    """Says back what it reads, until the client shuts down or says "Q"."""
    received = sent = 0
    with conn:
        while text := conn.recv(16 << 10):
            received += len(text)
            quits = b"Q" in [line.rstrip() for line in text.split(b"\n")]
            answer = b"bye\n" if quits else text
            conn.sendall(answer)
            sent += len(answer)
            if quits:
                break
    return received, sent


class Client:
    """A connection, line by line; a worker is told to talk to it."""

    def __init__(self):
        self.stream = socket.create_connection(listener.getsockname(), timeout=60)
        self.lines = self.stream.makefile("r")
        conn, _ = listener.accept()
        # The worker gets a copy of the socket. The parent needs its own until then.
        talks.append(pool.apply_async(talk, (conn,), callback=lambda _: conn.close()))

    def say(self, text):
        self.stream.sendall(f"{text}\n".encode())

    def hear(self):
        return self.lines.readline().rstrip()

    def ask(self, text):
        self.say(text)
        return self.hear()

    def waits(self, seconds):
        """Whether there is no answer for so long."""
        self.stream.settimeout(seconds)
        try:
            self.stream.recv(1, socket.MSG_PEEK)
            return False
        except TimeoutError:
            return True
        finally:
            self.stream.settimeout(60)

    def hang_up(self):
        self.lines.close()
        self.stream.close()


if __name__ == "__main__":
    talks = []
    with Pool(5) as pool, socket.create_server(("127.0.0.1", 0)) as listener:
        clients = [Client() for _ in range(5)]
        for number, client in enumerate(clients):
            print(f"client {number} hears:", client.ask(f"I am {number}"))
        sixth = Client()
        sixth.say("so am I")
        print("the sixth waits:", "yes" if sixth.waits(0.2) else "no")
        for line in ("one", "two", "Q"):
            print(f"client 0 types {line} and hears:", clients[0].ask(line))
        print("the sixth hears:", sixth.hear())
        clients.pop(1).hang_up()
        seventh = Client()
        print("the seventh hears:", seventh.ask("and I"))
        for client in [*clients[1:], sixth, seventh]:
            assert client.ask("Q") == "bye"
        for number, ended in enumerate(talks):
            print("talk {}: {} bytes received, {} sent".format(number, *ended.get()))
        for client in [*clients, sixth, seventh]:
            client.hang_up()
