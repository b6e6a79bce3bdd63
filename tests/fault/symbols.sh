#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# symbols.sh OBJECT: whatever the library takes from outside either passes through faults.c, or stands below as something that
# cannot fail (or whose failure is the same as its success). A new name has to be looked at, and put into one of the two.
set -euo pipefail
cannot_fail='__errno_location|_GLOBAL_OFFSET_TABLE_|abort|fprintf|fwrite|stderr|memcmp|memcpy|memset|memmove|bcmp|strlen'
# (munmap of what mmap gave: where it fails, memory stays in use, and nothing else is different.)
cannot_fail+='|munmap|sched_yield|sysconf|clock_gettime|nanosleep|pthread_mutex_(destroy|lock|unlock)|pthread_setcancelstate'
# (Of a mutex's attributes only a kind that is not known is refused.)
cannot_fail+='|pthread_mutexattr_(init|settype|destroy)'
# (A condition is not waited for until a time; what pthread_cleanup_push() is made of.)
cannot_fail+='|pthread_cond_(wait|broadcast)|__sigsetjmp|__pthread_(un)?register_cancel|__pthread_unwind_next'
built_in='__(tsan|asan|ubsan|sanitizer|gcov|stack_chk|tls_get_addr|start|stop)[a-zA-Z0-9_]*|_Unwind_[A-Za-z]*'
unknown=$(nm -u "$1" | awk '{print $NF}' | grep -vE "^(__wrap_[a-z_]+|$cannot_fail|$built_in)\$" || true)
if [ -n "$unknown" ]; then
  printf 'neither wrapped nor known not to fail:\n%s\n' "$unknown" >&2
  exit 1
fi
nm -u "$1" | grep -c __wrap_ | sed 's/$/ wrapped names/'
