/* Extism by its C library, in two processes. Reads commands on standard input
 * and answers each with one line of JSON:
 *
 *     sample fresh|reuse ITEMS
 *
 * Each process squares half of the numbers: a new plugin for each of them, made
 * from the compiled one, or one plugin for all.
 *
 *     extism-peer PLUGIN.wasm
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef struct Compiled Compiled;
typedef struct Plugin Plugin;
Compiled *extism_compiled_plugin_new(const uint8_t *wasm, uint64_t size, const void **functions, uint64_t count,
                                     bool wasi, char **error);
Plugin *extism_plugin_new_from_compiled(const Compiled *compiled, char **error);
int32_t extism_plugin_call(Plugin *plugin, const char *name, const uint8_t *data, uint64_t size);
uint64_t extism_plugin_output_length(Plugin *plugin);
const uint8_t *extism_plugin_output_data(Plugin *plugin);
void extism_plugin_free(Plugin *plugin);

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static bool square(Plugin *plugin, int64_t n) {
    int64_t result;
    if (!plugin || extism_plugin_call(plugin, "run", (const uint8_t *)&n, sizeof n) != 0) return false;
    if (extism_plugin_output_length(plugin) != sizeof result) return false;
    memcpy(&result, extism_plugin_output_data(plugin), sizeof result);
    return result == n * n;
}

/* One process's half; ends it. */
static void work(const Compiled *compiled, bool fresh, long from, long to) {
    char *error = NULL;
    Plugin *kept = fresh ? NULL : extism_plugin_new_from_compiled(compiled, &error);
    for (long n = from; n < to; n++) {
        Plugin *plugin = fresh ? extism_plugin_new_from_compiled(compiled, &error) : kept;
        if (!square(plugin, n)) _exit(1);
        if (fresh) extism_plugin_free(plugin);
    }
    _exit(0);
}

/* Each process compiles for itself before the clock starts: a library with
 * threads is not to be forked. */
static void half(const uint8_t *wasm, long size, bool fresh, long from, long to, int ready, int go) {
    char *error = NULL;
    char byte = 0;
    Compiled *compiled = extism_compiled_plugin_new(wasm, size, NULL, 0, false, &error);
    if (!compiled || write(ready, &byte, 1) != 1 || read(go, &byte, 1) < 0) _exit(1);
    work(compiled, fresh, from, to);
}

static bool sample(const uint8_t *wasm, long size, bool fresh, long items, double *seconds) {
    int ready[2], go[2], good = 1;
    if (pipe(ready) || pipe(go)) return false;
    fflush(stdout);
    for (int part = 0; part < 2; part++) {
        if (fork() == 0) {
            close(go[1]);
            half(wasm, size, fresh, part * items / 2, (part + 1) * items / 2, ready[1], go[0]);
        }
    }
    close(ready[1]);
    close(go[0]);
    char byte;
    for (int part = 0; part < 2; part++) good = good && read(ready[0], &byte, 1) == 1;
    double started = now();
    close(go[1]);
    for (int part = 0, status; part < 2; part++) {
        wait(&status);
        good = good && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }
    *seconds = now() - started;
    close(ready[0]);
    return good;
}

int main(int count, char **words) {
    FILE *file = count == 2 ? fopen(words[1], "rb") : NULL;
    if (!file) return fprintf(stderr, "usage: extism-peer PLUGIN.wasm\n"), 2;
    static uint8_t wasm[1 << 20];
    long size = fread(wasm, 1, sizeof wasm, file);
    char line[256], kind[16];
    long items;
    while (fgets(line, sizeof line, stdin)) {
        double seconds;
        if (sscanf(line, "sample %15s %ld", kind, &items) == 2 &&
            sample(wasm, size, strcmp(kind, "fresh") == 0, items, &seconds))
            printf("{\"seconds\": %.9f, \"items\": %ld}\n", seconds, items);
        else
            printf("{\"error\": \"the plugin does not do what it should\"}\n");
        fflush(stdout);
    }
    return 0;
}
