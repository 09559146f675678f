// Writes the scores of texts as JSON lines, and what they come to.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "output/output_file.h"
#include "output/sample_writer.h"

namespace demask {

// What every line of a run has in common.
struct ScoreLines {
  std::string checkpoint;
  int64_t draws = 0;    // of a bound
  bool tokens = false;  // each line lists the scored tokens, and what each is worth
};

// Records are texts with their scores. finish() says on stderr what those of the whole file come to, or of all that
// were given where it is a stream. Both throw as the writers of samples.
std::unique_ptr<SampleWriter> make_score_writer(std::unique_ptr<RunFile> file, const std::string& path,
                                                const ScoreLines& lines);

// Where no run file is, in the order of the indices as far as their turn has come.
std::unique_ptr<SampleWriter> make_score_writer(std::unique_ptr<Output> output, const ScoreLines& lines);

}  // namespace demask
