"""first_line.py COMMAND...: run a command, pass its standard error on, and say when its first line came."""

import subprocess
import sys
import time

start = time.monotonic()
with subprocess.Popen(sys.argv[1:], stderr=subprocess.PIPE, text=True) as process:
    for number, line in enumerate(process.stderr):
        if number == 0:
            print(f"first line after {time.monotonic() - start:.1f} s", flush=True)
        print(line, end="", flush=True)
sys.exit(process.returncode)
