/* SPDX-License-Identifier: MIT
 *
 * Linked into a program, this takes membarrier(2) from the library in it, as a kernel without it would: of syscall() the library makes
 * no other call, which tests/fault/symbols.sh checks.
 */
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "support/support.h"

long syscall(long number, ...)
{
    CHECK(number == SYS_membarrier);
    errno = ENOSYS;
    return -1;
}
