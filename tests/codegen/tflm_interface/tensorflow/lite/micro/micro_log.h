// As TensorFlow Lite Micro has it: where error strings are stripped there is no MicroPrintf, but a macro of that name.
#ifndef TENSORFLOW_LITE_MICRO_MICRO_LOG_H_
#define TENSORFLOW_LITE_MICRO_MICRO_LOG_H_

#ifdef TF_LITE_STRIP_ERROR_STRINGS
#define MicroPrintf(...) static_cast<void>(0)
#else
void MicroPrintf(const char* format, ...);
#endif

#endif
