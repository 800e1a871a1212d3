"""A child that behaves like an engine at its worst: run as a file, told by its words what to do."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def main() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("--port", type=int, required=True)
    words.add_argument("--slow", type=float, default=0.0)  # seconds before it listens
    words.add_argument("--die-at", type=float, default=0.0)  # seconds after listening
    words.add_argument("--hang-file", default="")  # while it exists, no probe is answered
    words.add_argument("--child", action="store_true")  # a helper that ignores SIGTERM, in its own session
    words.add_argument("--stubborn", action="store_true")  # ignores SIGTERM itself
    words.add_argument("--exit", type=int, default=-1)
    words.add_argument("--pids", default="")
    told = words.parse_args()
    print("loading model of secret-key", flush=True)
    pids = [os.getpid()]
    if told.child:
        code = "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
        pids.append(subprocess.Popen([sys.executable, "-S", "-c", code], start_new_session=True).pid)
    if told.stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if told.pids:
        Path(told.pids).write_text(json.dumps(pids))
    if told.exit >= 0:
        print("ValueError: no such flag", flush=True)
        raise SystemExit(told.exit)
    time.sleep(told.slow)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            while told.hang_file and Path(told.hang_file).exists():
                time.sleep(0.05)
            allowed = self.headers.get("Authorization") == "Bearer secret-key"
            self.send_response(200 if allowed else 401)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *words: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", told.port), Handler)
    if told.die_at:
        import threading

        threading.Timer(told.die_at, lambda: os._exit(3)).start()
    server.serve_forever()


if __name__ == "__main__":
    main()
