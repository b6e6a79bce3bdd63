// SPDX-License-Identifier: MIT
// The header's inline functions, as C++17.
#include <syncmap.h>

int header_in_cpp(syncmap *m);
int header_in_cpp(syncmap *m)
{
    syncmap_options options = {};
    options.value_free = syncmap_free_value;
    (void)options;
    return syncmap_store(m, syncmap_u64(1), nullptr) + syncmap_delete(m, syncmap_str("a")) +
           syncmap_delete(m, syncmap_bytes("a", 1)) + syncmap_delete(m, syncmap_obj(m));
}
