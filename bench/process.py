# SPDX-License-Identifier: MIT
"""Starts runners: where they are, their command lines, and a process with a time limit."""
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass


@dataclass
class Outcome:
    status: str   # ok, hung, failed
    detail: str
    stdout: str
    stderr: str
    seconds: float


def kill_group(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def run(command, limit, environment=None):
    """Runs a command in a process group of its own, which is killed after `limit` seconds and when this program is interrupted."""
    began = time.monotonic()
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True, errors="replace", start_new_session=True, env=environment)
    except OSError as error:
        return Outcome("failed", str(error), "", "", 0.0)
    status, detail = "ok", ""
    try:
        stdout, stderr = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        status, detail = "hung", f"killed after {limit:.0f} s"
        kill_group(process)
        stdout, stderr = process.communicate()
    except BaseException:
        kill_group(process)
        process.wait()
        raise
    if status == "ok" and process.returncode != 0:
        code = process.returncode
        status, detail = "failed", f"signal {-code}" if code < 0 else f"exit status {code}"
    return Outcome(status, detail, stdout, stderr, time.monotonic() - began)


def megabytes_of_memory():
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20


def java_options():
    """A heap that need not grow while something is timed, if the machine has the memory for it."""
    most = min(10240, megabytes_of_memory() * 6 // 10)
    return [f"-Xms{min(4096, most)}m", f"-Xmx{most}m", "-XX:+UseParallelGC"]


class Runners:
    """The executables in the build's bench/ directory."""

    def __init__(self, build):
        self.directory = os.path.join(build, "bench")
        self.processors = sorted(os.sched_getaffinity(0))

    def path(self, name):
        return os.path.join(self.directory, name)

    def executables(self, prefix):
        if not os.path.isdir(self.directory):
            return []
        return sorted(name for name in os.listdir(self.directory) if name.startswith(prefix)
                      and os.path.isfile(self.path(name)) and os.access(self.path(name), os.X_OK))

    def java_class_path(self):
        """The directory with Run.class, or a jar: whichever the build made."""
        if not os.path.isdir(self.directory):
            return None
        for name in [""] + sorted(os.listdir(self.directory)):
            if os.path.exists(self.path(os.path.join(name, "Run.class"))):
                return self.path(name)
            if name.endswith(".jar"):
                return self.path(name)
        return None

    def has(self, the_map):
        if the_map.file == "java":
            return self.java_class_path() is not None and shutil.which("java") is not None
        return os.access(self.path("run_" + the_map.file), os.X_OK)

    def lacks(self, the_map, life):
        """Why this life is not run though the map is there, or None."""
        if the_map.file in life.without:
            return "not in a quick run: it would take too long"
        if the_map.file in ("go", "java") or life.keys != "str" or os.access(self.path(f"run_{the_map.file}_str"), os.X_OK):
            return None
        return "no runner for string keys"

    def command(self, the_map, life, seed):
        arguments = life.arguments(seed)
        if the_map.file == "go":
            return [self.path("run_go")] + arguments
        if the_map.file == "java":
            chosen = ",".join(str(p) for p in self.processors[:life.threads])
            return ["taskset", "-c", chosen, "java"] + java_options() + ["-cp", self.java_class_path(), "Run"] + arguments
        if life.keys == "str":
            return [self.path(f"run_{the_map.file}_str")] + arguments[2:]
        return [self.path("run_" + the_map.file)] + arguments
