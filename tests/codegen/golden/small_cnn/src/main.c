/* small_cnn on test-board: the part of the firmware that depends on the model. Generated; do not edit. */
#include "small_cnn.h"

#include "clock.h"
#include "hal.h"
#include "model.h"
#include "protocol.h"

static uint8_t arena[SMALL_CNN_ARENA_BYTES] __attribute__((aligned(16)));

/* The inputs as they were uploaded. Inference overwrites those in the arena; repeating it starts from these. */
static uint8_t loaded[SMALL_CNN_INPUT_BYTES] __attribute__((aligned(4)));

static const model_tensor inputs[] = {
    { SMALL_CNN_INPUT_0_BYTES, SMALL_CNN_INPUT_0_SCALE, SMALL_CNN_INPUT_0_ZERO_POINT },
};

static const model_tensor outputs[] = {
    { SMALL_CNN_OUTPUT_0_BYTES, SMALL_CNN_OUTPUT_0_SCALE, SMALL_CNN_OUTPUT_0_ZERO_POINT },
};

static void *input(int index)
{
    return small_cnn_input(arena, index);
}

static const int8_t *output(int index)
{
    return small_cnn_output(arena, index);
}

/* Between two instructions without effect, by which the emulator's plugin knows where counting starts and ends. */
static void run(void)
{
    __asm volatile("mov r9, r9" : : : "memory");
#if SMALL_CNN_HAS_PREPROCESS
    small_cnn_preprocess(arena);
#endif
    small_cnn_invoke(arena);
    __asm volatile("mov r10, r10" : : : "memory");
}

int main(void)
{
    static const model the_model = {
        .name = "small_cnn",
        .id = SMALL_CNN_MODEL_ID,
        .loaded = loaded,
        .loaded_bytes = sizeof loaded,
        .arena_bytes = sizeof arena,
        .inputs = inputs,
        .outputs = outputs,
        .input_count = SMALL_CNN_INPUT_COUNT,
        .output_count = SMALL_CNN_OUTPUT_COUNT,
        .input = input,
        .output = output,
        .run = run,
    };

    hal_init();
    clock_init();
    protocol_run(&the_model);
}
