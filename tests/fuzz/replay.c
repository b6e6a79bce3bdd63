/* SPDX-License-Identifier: MIT
 *
 * Runs fuzz_map.c over files, and over all files of directories, once each: the corpus as a test, and a finding under a debugger,
 * with any compiler.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/harness.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned files;

static void run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL);
    CHECK(fseek(file, 0, SEEK_END) == 0);
    long size = ftell(file);
    CHECK(size >= 0 && size < 1 << 20);
    rewind(file);
    uint8_t *data = malloc((size_t)size + !size); /* of this size, so that a read beyond it is seen */
    CHECK(data != NULL);
    CHECK(fread(data, 1, (size_t)size, file) == (size_t)size);
    fclose(file);
    harness_note(path);
    LLVMFuzzerTestOneInput(data, (size_t)size);
    free(data);
    files++;
}

static void run_path(const char *path)
{
    DIR *directory = opendir(path);
    if (!directory) {
        CHECK(errno == ENOTDIR);
        run_file(path);
        return;
    }
    for (struct dirent *entry; (entry = readdir(directory));) {
        char name[4096];
        if (entry->d_name[0] == '.') continue;
        CHECK((size_t)snprintf(name, sizeof name, "%s/%s", path, entry->d_name) < sizeof name);
        run_path(name);
    }
    closedir(directory);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) run_path(argv[i]);
    printf("%u inputs\n", files);
    return files == 0;
}
