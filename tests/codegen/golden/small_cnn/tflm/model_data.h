/* small_cnn: the .tflite file as an array for TensorFlow Lite Micro. Generated; do not edit. */
#ifndef SMALL_CNN_MODEL_DATA_H
#define SMALL_CNN_MODEL_DATA_H

#define SMALL_CNN_MODEL_DATA_BYTES 3888

/* a size given by the test */
#define SMALL_CNN_TFLM_ARENA_BYTES 4096

#ifdef __cplusplus
extern "C" {
#endif

extern const unsigned char small_cnn_model_data[SMALL_CNN_MODEL_DATA_BYTES];

#ifdef __cplusplus
}
#endif

#endif
