// A run whose prompts come one by one: each is drawn with what else waits, and answered while the pipe stays open.
#pragma once

#include <future>
#include <string>

#include "app/prompt_stream.h"
#include "app/shard.h"
#include "config/config.h"
#include "engine/engine.h"

namespace demask {

// Throws Error(bad_usage) where the settings ask for what takes the whole list: shards, resuming, traces, reports.
void check_needs_no_whole_list(const Config& config, const std::string& list_name);

// Draws and writes until the list ends, or a signal asks to stop. Lines that were read and are not answered are named.
// Throws Error as a run of a list in a file; where the list has a bad line, after the lines before it are answered.
void draw_as_it_comes(const Engine& engine, OpenList list, const std::shared_future<std::string>& checkpoint_sha256);

}  // namespace demask
