/* The commands of MLPerf Tiny's device protocol. */
#ifndef MLPERF_H
#define MLPERF_H

#include "command.h"

extern const command mlperf_commands[];     /* ends with a NULL name */

void mlperf_timestamp(session *s);          /* prints m-lap-us-T */

#endif
