/* The line m-id-build-ID, see build_id.c. */
#ifndef BUILD_ID_H
#define BUILD_ID_H

extern const char build_id[];

#endif
