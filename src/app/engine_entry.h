// The engine's one symbol. Front and engine are two copies of the same objects of demask's lower layers, made in one
// build, so that a structure of theirs means the same on both sides. No exception
// leaves the call; what the front's vocabulary throws within it is known by its type's name, an Error there as here.
#pragma once

#include "config/command_line.h"
#include "engine/model_ahead.h"

extern "C" __attribute__((visibility("default"))) int demask_engine(const demask::CommandLine* command,
                                                                    demask::ModelAhead* ahead) noexcept;
