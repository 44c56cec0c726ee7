/* two_inputs on test-board: the part of the firmware that depends on the model. Generated; do not edit. */
#include "two_inputs.h"

#include "clock.h"
#include "hal.h"
#include "model.h"
#include "protocol.h"

static uint8_t arena[TWO_INPUTS_ARENA_BYTES] __attribute__((aligned(16)));

/* The inputs as they were uploaded. Inference overwrites those in the arena; repeating it starts from these. */
static uint8_t loaded[TWO_INPUTS_INPUT_BYTES] __attribute__((aligned(4)));

static const model_tensor inputs[] = {
    { TWO_INPUTS_INPUT_0_BYTES, TWO_INPUTS_INPUT_0_SCALE, TWO_INPUTS_INPUT_0_ZERO_POINT },
    { TWO_INPUTS_INPUT_1_BYTES, TWO_INPUTS_INPUT_1_SCALE, TWO_INPUTS_INPUT_1_ZERO_POINT },
};

static const model_tensor outputs[] = {
    { TWO_INPUTS_OUTPUT_0_BYTES, TWO_INPUTS_OUTPUT_0_SCALE, TWO_INPUTS_OUTPUT_0_ZERO_POINT },
    { TWO_INPUTS_OUTPUT_1_BYTES, TWO_INPUTS_OUTPUT_1_SCALE, TWO_INPUTS_OUTPUT_1_ZERO_POINT },
};

static void *input(int index)
{
    return two_inputs_input(arena, index);
}

static const int8_t *output(int index)
{
    return two_inputs_output(arena, index);
}

/* Between two instructions without effect, by which the emulator's plugin knows where counting starts and ends. */
static void run(void)
{
    __asm volatile("mov r9, r9" : : : "memory");
#if TWO_INPUTS_HAS_PREPROCESS
    two_inputs_preprocess(arena);
#endif
    two_inputs_invoke(arena);
    __asm volatile("mov r10, r10" : : : "memory");
}

int main(void)
{
    static const model the_model = {
        .name = "two_inputs",
        .id = TWO_INPUTS_MODEL_ID,
        .loaded = loaded,
        .loaded_bytes = sizeof loaded,
        .arena_bytes = sizeof arena,
        .inputs = inputs,
        .outputs = outputs,
        .input_count = TWO_INPUTS_INPUT_COUNT,
        .output_count = TWO_INPUTS_OUTPUT_COUNT,
        .input = input,
        .output = output,
        .run = run,
    };

    hal_init();
    clock_init();
    protocol_run(&the_model);
}
