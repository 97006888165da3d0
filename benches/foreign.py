"""How much of the machine other processes use while a sample is taken.

Foreign is whatever is no descendant of this process, and time that the
hypervisor gave to others. A process that ends hands its time on to its parent,
so the sum over all processes only ever misses what nobody waits for.
"""

import os

HZ = os.sysconf("SC_CLK_TCK")


def processes():
    """Of each process: its parent, its own time, and that of children it has
    waited for, in ticks."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", encoding="ascii", errors="replace") as stat:
                fields = stat.read().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        utime, stime, cutime, cstime = map(int, fields[11:15])
        found[int(entry)] = (int(fields[1]), utime + stime + cutime + cstime)
    return found


def own(found):
    """This process and its descendants."""
    children = {}
    for pid, (parent, _) in found.items():
        children.setdefault(parent, []).append(pid)
    tree, todo = set(), [os.getpid()]
    while todo:
        pid = todo.pop()
        tree.add(pid)
        todo.extend(children.get(pid, []))
    return tree


def stolen():
    """Ticks that the hypervisor did not give to this machine."""
    with open("/proc/stat", encoding="ascii") as stat:
        fields = stat.readline().split()
    return int(fields[8]) if len(fields) > 8 else 0


def ticks():
    found = processes()
    ours = own(found)
    return stolen() + sum(time for pid, (_, time) in found.items() if pid not in ours)


class Watch:
    """Counts foreign time from its making on."""

    def __init__(self):
        self.before = ticks()

    def seconds(self):
        return max(0, ticks() - self.before) / HZ
