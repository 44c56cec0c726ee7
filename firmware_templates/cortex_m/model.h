/* What the protocol knows of the model. main.c, which is generated, fills it in from the model's own header. */
#ifndef MODEL_H
#define MODEL_H

#include <stdint.h>

typedef struct {
    uint32_t bytes;
    float scale;            /* real = scale * (q - zero_point) */
    int32_t zero_point;
} model_tensor;

typedef struct {
    const char *name, *id;
    uint8_t *loaded;        /* the inputs as they were uploaded, one after the other; running overwrites those in the arena */
    uint32_t loaded_bytes, arena_bytes;
    const model_tensor *inputs, *outputs;
    int input_count, output_count;
    void *(*input)(int index);
    const int8_t *(*output)(int index);
    void (*run)(void);
} model;

#endif
