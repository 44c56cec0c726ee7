/* Replays vectors through the generated library on the host: input bytes on stdin, output bytes on stdout, one vector after
 * another until stdin ends. The argument "trace" also writes every layer's output, in layer order, before the outputs.
 *
 * The compiler's command line says which library: MODEL_HEADER, MODEL(name) and MODEL_MACRO(name) paste its prefix. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replay.h"
#include MODEL_HEADER

static int tracing;

static void write_bytes(const void *bytes, unsigned long count)
{
    if (fwrite(bytes, 1, count, stdout) != count) {
        perror("replay: write");
        exit(2);
    }
}

void replay_trace(const void *values, unsigned long bytes)
{
    if (tracing)
        write_bytes(values, bytes);
}

int main(int argc, char **argv)
{
    static const unsigned long input_bytes[] = { INPUT_SIZES };
    static const unsigned long output_bytes[] = { OUTPUT_SIZES };
    void *const arena = MODEL(static_arena);

    tracing = argc > 1 && strcmp(argv[1], "trace") == 0;
    for (;;) {
        for (int i = 0; i < MODEL_MACRO(INPUT_COUNT); i++) {
            const unsigned long got = fread(MODEL(input)(arena, i), 1, input_bytes[i], stdin);
            if (got == 0 && i == 0)
                return fflush(stdout) == 0 ? 0 : 2;
            if (got != input_bytes[i]) {
                fprintf(stderr, "replay: stdin ended inside input %d: %lu of %lu bytes\n", i, got, input_bytes[i]);
                return 2;
            }
        }
#if MODEL_HAS_PREPROCESS
        MODEL(preprocess)(arena);
#endif
        MODEL(invoke)(arena);
        for (int i = 0; i < MODEL_MACRO(OUTPUT_COUNT); i++)
            write_bytes(MODEL(output)(arena, i), output_bytes[i]);
    }
}
