// two_inputs: exactly the TensorFlow Lite Micro operators that its file uses. Generated; do not edit.
#ifndef TWO_INPUTS_OP_RESOLVER_H_
#define TWO_INPUTS_OP_RESOLVER_H_

#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

using TwoInputsOpResolver = tflite::MicroMutableOpResolver<2>;

inline TfLiteStatus two_inputs_register_ops(TwoInputsOpResolver& resolver) {
  TF_LITE_ENSURE_STATUS(resolver.AddAdd());
  TF_LITE_ENSURE_STATUS(resolver.AddRelu());
  return kTfLiteOk;
}

#endif  // TWO_INPUTS_OP_RESOLVER_H_
