"""Stops one thread of a process, as a debugger does, until it is killed or its standard input ends.

Prints {"stopped": THREAD} once the thread stands still.
"""

import ctypes
import json
import os
import signal
import sys

PTRACE_ATTACH = 16
PTRACE_DETACH = 17
WALL = 0x40000000  # __WALL: threads, too

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def ptrace(request, thread):
    if libc.ptrace(request, thread, None, None) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def main():
    process, name = sys.argv[1:]
    tasks = f"/proc/{process}/task"
    named = lambda task: open(f"{tasks}/{task}/comm").read().strip() == name
    thread = int(next(task for task in os.listdir(tasks) if named(task)))
    ptrace(PTRACE_ATTACH, thread)
    os.waitpid(thread, WALL)
    print(json.dumps({"stopped": thread}), flush=True)
    signal.sigwait([signal.SIGINT, signal.SIGTERM])
    ptrace(PTRACE_DETACH, thread)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
    sys.exit(main())
