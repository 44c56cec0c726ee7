// Its methods are in the header, as TensorFlow Lite Micro's are: what they call, the program calls.
#ifndef TENSORFLOW_LITE_MICRO_MICRO_MUTABLE_OP_RESOLVER_H_
#define TENSORFLOW_LITE_MICRO_MICRO_MUTABLE_OP_RESOLVER_H_

#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_log.h"

namespace tflite {

template <unsigned int tOpCount>
class MicroMutableOpResolver : public MicroOpResolver {
 public:
  TfLiteStatus AddAdd() { return AddBuiltin(); }
  TfLiteStatus AddAveragePool2D() { return AddBuiltin(); }
  TfLiteStatus AddConv2D() { return AddBuiltin(); }
  TfLiteStatus AddDepthwiseConv2D() { return AddBuiltin(); }
  TfLiteStatus AddFullyConnected() { return AddBuiltin(); }
  TfLiteStatus AddRelu() { return AddBuiltin(); }
  TfLiteStatus AddReshape() { return AddBuiltin(); }
  TfLiteStatus AddSoftmax() { return AddBuiltin(); }

 private:
  TfLiteStatus AddBuiltin() {
    if (count_ == tOpCount) {
      MicroPrintf("there is room for %u operators", tOpCount);
      return kTfLiteError;
    }
    count_++;
    return kTfLiteOk;
  }

  unsigned int count_ = 0;
};

}  // namespace tflite

#endif
