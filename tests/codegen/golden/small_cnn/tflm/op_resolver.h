// small_cnn: exactly the TensorFlow Lite Micro operators that its file uses. Generated; do not edit.
#ifndef SMALL_CNN_OP_RESOLVER_H_
#define SMALL_CNN_OP_RESOLVER_H_

#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

using SmallCnnOpResolver = tflite::MicroMutableOpResolver<7>;

inline TfLiteStatus small_cnn_register_ops(SmallCnnOpResolver& resolver) {
  TF_LITE_ENSURE_STATUS(resolver.AddAdd());
  TF_LITE_ENSURE_STATUS(resolver.AddAveragePool2D());
  TF_LITE_ENSURE_STATUS(resolver.AddConv2D());
  TF_LITE_ENSURE_STATUS(resolver.AddDepthwiseConv2D());
  TF_LITE_ENSURE_STATUS(resolver.AddFullyConnected());
  TF_LITE_ENSURE_STATUS(resolver.AddReshape());
  TF_LITE_ENSURE_STATUS(resolver.AddSoftmax());
  return kTfLiteOk;
}

#endif  // SMALL_CNN_OP_RESOLVER_H_
