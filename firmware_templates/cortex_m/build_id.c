/* The line by which `id%` tells this image from any other. It is linked twice: with zeros, and then with the first digits of
 * the sha256 of all that is flashed as it was with zeros. So whatever changes the image changes the line: a source, a flag
 * that was given to make, another compiler. What does not, changes nothing: the folder, the time, a comment. */
#include "build_id.h"

#ifndef BUILD_ID    /* in the header that the Makefile, or CMake, writes in between */
#define BUILD_ID "0000000000000000"
#endif

const char build_id[] = "m-id-build-" BUILD_ID;
