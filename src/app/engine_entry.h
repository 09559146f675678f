// The engine's one symbol. Front and engine are two copies of the same objects of demask's lower layers, made in one
// build, so that a structure of theirs means the same on both sides; no exception crosses.
#pragma once

#include "config/command_line.h"

extern "C" __attribute__((visibility("default"))) int demask_engine(const demask::CommandLine* command) noexcept;
