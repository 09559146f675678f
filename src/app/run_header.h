// The first line of a JSON lines file: what it takes to make its samples again, and to tell whether another run would.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "app/shard.h"
#include "engine/context.h"
#include "engine/work.h"
#include "output/run_file.h"

namespace demask {

// Version, hashes of models, vocabulary and prompts, device kind and precision, seed, number of samples, every setting
// that can change the text, and where there are shards, which this is. Reads the files that it hashes, but for the
// checkpoint, whose hash is given.
nlohmann::ordered_json run_header(const Context& context, const Work& work, const Shard& shard, const IndexRange& range,
                                  const std::string& checkpoint_sha256);

}  // namespace demask
