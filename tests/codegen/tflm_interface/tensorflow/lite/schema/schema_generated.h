#ifndef TENSORFLOW_LITE_SCHEMA_SCHEMA_GENERATED_H_
#define TENSORFLOW_LITE_SCHEMA_SCHEMA_GENERATED_H_

namespace tflite {
struct Model;
const Model* GetModel(const void* buf);
}  // namespace tflite

#endif
