// A library that links as TensorFlow Lite Micro's does, with error strings or, as its release build, without. It infers nothing.
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_log.h"
#include "tensorflow/lite/micro/system_setup.h"
#include "tensorflow/lite/schema/schema_generated.h"

#ifndef TF_LITE_STRIP_ERROR_STRINGS
void MicroPrintf(const char*, ...) {}
#endif

namespace tflite {

namespace {
TfLiteTensor tensor;
}

void InitializeTarget() {}

const Model* GetModel(const void* buf) { return static_cast<const Model*>(buf); }

MicroInterpreter::MicroInterpreter(const Model*, const MicroOpResolver&, uint8_t* arena, size_t, MicroResourceVariables*,
                                   MicroProfilerInterface*, bool) {
  tensor.data.uint8 = arena;
}

MicroInterpreter::~MicroInterpreter() = default;

TfLiteStatus MicroInterpreter::AllocateTensors() { return kTfLiteOk; }

TfLiteStatus MicroInterpreter::Invoke() { return kTfLiteOk; }

TfLiteTensor* MicroInterpreter::input(size_t) { return &tensor; }

TfLiteTensor* MicroInterpreter::output(size_t) { return &tensor; }

}  // namespace tflite

// Of the C library, which is not needed here: what destructors of static objects are registered with.
extern "C" int atexit(void (*)()) { return 0; }
