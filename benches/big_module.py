"""A large module with real code: what a big program compiles to, by the size of
its functions. `run: (i64) -> i64` is one of them."""

import random

I64, CONST, GET, SET, TEE, END = 0x7E, 0x42, 0x20, 0x21, 0x22, 0x0B
ADD, SUB, MUL, AND, OR, XOR, SHL, SHR, ROTL = 0x7C, 0x7D, 0x7E, 0x83, 0x84, 0x85, 0x86, 0x88, 0x89
WRAP, LOAD, STORE, IF, ELSE, LOOP, BR_IF, CALL = 0xA7, 0x29, 0x37, 0x04, 0x05, 0x03, 0x0D, 0x10
LT_U, EXTEND, I32_CONST, I32_AND = 0x54, 0xAD, 0x41, 0x71

LOCALS = 8
REPEATS = 8


def unsigned(value):
    out = bytearray()
    while True:
        byte, value = value & 0x7F, value >> 7
        out.append(byte | (0x80 if value else 0))
        if not value:
            return bytes(out)


def signed(value):
    out = bytearray()
    while True:
        byte, value = value & 0x7F, value >> 7
        done = value == (-1 if byte & 0x40 else 0)
        out.append(byte | (0 if done else 0x80))
        if done:
            return bytes(out)


def sized(content):
    return unsigned(len(content)) + content


def section(kind, entries):
    return bytes([kind]) + sized(unsigned(len(entries)) + b"".join(entries))


def address(random_local):
    """Turns a local into an address of the first page."""
    return bytes([GET, random_local, WRAP, I32_CONST]) + signed(0xFFF8) + bytes([I32_AND])


def statement(rng, depth, callee):
    """Code that sets one local from others."""
    a, b, c = (rng.randrange(LOCALS) for _ in range(3))
    number = bytes([CONST]) + signed(rng.getrandbits(rng.choice([7, 20, 62])))
    kind = rng.randrange(10 if depth < 3 else 7)
    if kind < 4:
        op = rng.choice([ADD, SUB, MUL, AND, OR, XOR, SHL, SHR, ROTL])
        return bytes([GET, a, GET, b, op]) + number + bytes([rng.choice([ADD, XOR, MUL]), SET, c])
    if kind == 4:
        return address(a) + bytes([LOAD, 3, 0, GET, b, XOR, SET, c])
    if kind == 5:
        return address(a) + bytes([GET, b, STORE, 3, 0])
    if kind == 6 and callee is not None:
        return bytes([GET, a, CALL]) + unsigned(callee) + bytes([SET, c])
    body = b"".join(statement(rng, depth + 1, None) for _ in range(rng.randrange(2, 6)))
    other = b"".join(statement(rng, depth + 1, None) for _ in range(rng.randrange(1, 4)))
    return bytes([GET, a, GET, b, LT_U, IF, 0x40]) + body + bytes([ELSE]) + other + bytes([END])


def function(rng, index, size):
    code = bytearray()
    code += b"\x01" + unsigned(LOCALS - 1) + bytes([I64])
    while len(code) < size:
        callee = rng.randrange(index + 1, index + 4) if rng.random() < 0.2 else None
        code += statement(rng, 0, callee)
    # A loop of sixteen rounds, as real functions have them.
    code += bytes([CONST]) + signed(16) + bytes([SET, 1, LOOP, 0x40])
    code += statement(rng, 3, None)
    code += bytes([GET, 1, CONST]) + signed(1) + bytes([SUB, TEE, 1, CONST]) + signed(0)
    code += bytes([0x52, BR_IF, 0, END])
    return bytes(code) + bytes([GET, rng.randrange(LOCALS), END])


def big_module(size, seed=48):
    """A module of a little over `size` bytes. `run` squares; nothing else is
    ever called."""
    rng = random.Random(seed)
    bodies, total = [], 0
    while total < size / REPEATS:
        body = sized(function(rng, len(bodies) + 1, rng.choice([300, 800, 2000, 6000])))
        bodies.append(body)
        total += len(body)
    # The compiler does not know functions again, and making them is slow.
    bodies *= REPEATS
    # So that the last of them call what is there.
    tail = sized(b"\x00" + bytes([GET, 0, GET, 0, MUL, END]))
    bodies += [tail] * 8
    ty = b"\x60\x01" + bytes([I64]) + b"\x01" + bytes([I64])
    run = len(bodies) - 1
    return b"".join([
        b"\0asm\x01\0\0\0",
        section(1, [ty]),
        section(3, [b"\0"] * len(bodies)),
        section(5, [b"\0\x11"]),
        section(7, [sized(b"run") + b"\0" + unsigned(run), sized(b"memory") + b"\x02\0"]),
        section(10, bodies),
    ])
