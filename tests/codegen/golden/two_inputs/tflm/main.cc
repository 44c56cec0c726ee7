// two_inputs on test-board under TensorFlow Lite Micro: same protocol, same answers. Generated; do not edit.
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/system_setup.h"
#include "tensorflow/lite/schema/schema_generated.h"

#include "model_data.h"
#include "op_resolver.h"

extern "C" {
#include "clock.h"
#include "console.h"
#include "hal.h"
#include "model.h"
#include "protocol.h"
}

namespace {

alignas(16) uint8_t arena[TWO_INPUTS_TFLM_ARENA_BYTES];
alignas(4) uint8_t loaded[48];
tflite::MicroInterpreter* interpreter;

const model_tensor inputs[] = {
    {24, 0.0199999996f, 4},
    {24, 0.0299999993f, -9},
};

const model_tensor outputs[] = {
    {24, 0.0399999991f, 1},
    {24, 0.0399999991f, 1},
};

void* Input(int index) { return interpreter->input(index)->data.raw; }

const int8_t* Output(int index) { return interpreter->output(index)->data.int8; }

// Says why on the console, and stops.
void Stop(const char* why) {
  console_text("e-[TFLM: ");
  console_text(why);
  console_text("]\r\n");
  for (;;) {
  }
}

void Run() {
  __asm volatile("mov r9, r9" : : : "memory");
  if (interpreter->Invoke() != kTfLiteOk) Stop("inference failed");
  __asm volatile("mov r10, r10" : : : "memory");
}

}  // namespace

// From the linker script: what a C++ start-up runs before main.
extern "C" void (*const constructors_start[])();
extern "C" void (*const constructors_end[])();

// Without it, the C++ library's own brings in everything that prints and unwinds.
extern "C" void __cxa_pure_virtual() { Stop("pure virtual call"); }

int main() {
  for (auto constructor = constructors_start; constructor != constructors_end; constructor++) (*constructor)();
  hal_init();
  clock_init();
  tflite::InitializeTarget();

  static TwoInputsOpResolver resolver;
  if (two_inputs_register_ops(resolver) != kTfLiteOk) Stop("an operator is not in this library");
  static tflite::MicroInterpreter the_interpreter(tflite::GetModel(two_inputs_model_data), resolver, arena, sizeof(arena));
  interpreter = &the_interpreter;
  if (interpreter->AllocateTensors() != kTfLiteOk) Stop("the arena is too small");

  static model the_model;
  the_model.name = "two_inputs";
  the_model.id = "731afd52ea3c1f34";
  the_model.loaded = loaded;
  the_model.loaded_bytes = sizeof(loaded);
  the_model.arena_bytes = sizeof(arena);
  the_model.inputs = inputs;
  the_model.outputs = outputs;
  the_model.input_count = 2;
  the_model.output_count = 2;
  the_model.input = Input;
  the_model.output = Output;
  the_model.run = Run;
  protocol_run(&the_model);
}
