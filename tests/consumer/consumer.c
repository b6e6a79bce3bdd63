/* SPDX-License-Identifier: MIT
 *
 * A program outside of this project, built against the installed library.
 */
#include <syncmap.h>

int main(void)
{
    syncmap *m = syncmap_new(SYNCMAP_STRING, NULL);
    int value = 42;
    void *found = NULL;
    if (m == NULL || syncmap_version() != SYNCMAP_VERSION)
        return 1;
    if (syncmap_store(m, syncmap_str("answer"), &value) != 0 || syncmap_load(m, syncmap_str("answer"), &found) != 1)
        return 2;
    syncmap_free(m);
    return found == &value ? 0 : 3;
}
