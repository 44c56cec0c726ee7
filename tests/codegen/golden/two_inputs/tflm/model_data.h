/* two_inputs: the .tflite file as an array for TensorFlow Lite Micro. Generated; do not edit. */
#ifndef TWO_INPUTS_MODEL_DATA_H
#define TWO_INPUTS_MODEL_DATA_H

#define TWO_INPUTS_MODEL_DATA_BYTES 800

/* a size given by the test */
#define TWO_INPUTS_TFLM_ARENA_BYTES 4096

#ifdef __cplusplus
extern "C" {
#endif

extern const unsigned char two_inputs_model_data[TWO_INPUTS_MODEL_DATA_BYTES];

#ifdef __cplusplus
}
#endif

#endif
