# SPDX-License-Identifier: MIT
"""What a reader of the report must know of the machine, the compilers and the run."""
import os
import platform
import re
import shlex
import shutil
import subprocess
import time

import process


def first_line(command):
    """Of what a command prints, on either stream; nothing if it is not there."""
    if not shutil.which(command[0]):
        return None
    result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            errors="replace", timeout=60, check=False)
    lines = [line for line in result.stdout.splitlines() if line.strip()]
    return lines[0].strip() if result.returncode == 0 and lines else None


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def find(pattern, text):
    match = re.search(pattern, text, re.MULTILINE)
    return match.group(1).strip() if match else None


def caches():
    sizes = []
    for index in range(8):
        base = f"/sys/devices/system/cpu/cpu0/cache/index{index}/"
        level, kind, size = (read(base + name).strip() for name in ("level", "type", "size"))
        if size:
            sizes.append(f"L{level}{'' if kind == 'Unified' else kind[0].lower()} {size}")
    return ", ".join(sizes) or None


def processor():
    info = read("/proc/cpuinfo")
    name = find(r"^model name\s*:(.*)$", info) or platform.machine()
    family, model, stepping = (find(rf"^{field}\s*:(.*)$", info) for field in ("cpu family", "model", "stepping"))
    numbers = f" (family {family}, model {model}, stepping {stepping})" if family and model else ""
    virtual = "; a virtual machine" if find(r"^flags\s*:(.* hypervisor\b)", info) else ""
    return name + numbers + virtual


def compilers(build):
    """The compilers with which CMake built the runners, and those of the other languages."""
    cache = read(os.path.join(build, "CMakeCache.txt"))
    c = find(r"^CMAKE_C_COMPILER:[A-Z]+=(.*)$", cache) or "cc"
    cxx = find(r"^CMAKE_CXX_COMPILER:[A-Z]+=(.*)$", cache) or "c++"
    kind = find(r"^CMAKE_BUILD_TYPE:[A-Z]+=(.*)$", cache)
    release = find(r"^CMAKE_C_FLAGS_RELEASE:[A-Z]+=(.*)$", cache) if kind == "Release" else None
    flags = " ".join(filter(None, (find(r"^CMAKE_C_FLAGS:[A-Z]+=(.*)$", cache), release)))
    return {"C": first_line([c, "--version"]), "C++": first_line([cxx, "--version"]), "flags": flags or kind,
            "Go": first_line(["go", "version"]), "Java": first_line(["java", "--version"]),
            "C library": " ".join(filter(None, platform.libc_ver()))}


def facts(arguments, options, began, absent):
    """What is known before the first process starts."""
    system = find(r'^PRETTY_NAME="?([^"\n]*)', read("/etc/os-release"))
    governor = read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip()
    machine = {"processor": processor(), "caches of a core": caches(),
               "processors allowed": str(len(os.sched_getaffinity(0))),
               "memory": f"{process.megabytes_of_memory() / 1024:.0f} GiB", "frequency governor": governor or None,
               "system": system, "kernel": f"{platform.system()} {platform.release().split('-')[0]}"}
    machine.update(compilers(options.build))
    machine["date"] = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(began))
    return {"machine": {name: text for name, text in machine.items() if text},
            "command": shlex.join(["bench/bench.py"] + list(arguments)), "quick": options.quick,
            "absent": {m.name: f"not built; needs {m.needs}" for m in absent}}


def outcome(bench, done, began, extras):
    """What the run came to."""
    runners = bench.runners
    lives = [{"title": life.title, "group": life.group, "n": life.n, "threads": life.threads, "seconds": life.seconds,
              "repetitions": repetitions, "arguments": " ".join(life.arguments(seed=1)), "keys": life.keys}
             for life, repetitions in done.items()]
    versions = {name: version for name, version in bench.versions.items() if version}
    return {"versions": versions, "maps": [m.name for m in bench.maps], "lives": lives, "problems": bench.problems,
            "repeats": bench.repeats, "minutes": round((time.time() - began) / 60, 1), "java": process.java_options(),
            "cores": len(runners.processors), "notes": extras.notes}
