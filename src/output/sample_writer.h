// Writes finished samples: the text form, or JSON lines. Knows formats and files, nothing of how samples were made.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "demask/sample.h"
#include "output/output_file.h"
#include "output/run_file.h"
#include "sampling/sample.h"

namespace demask {

// What every sample of a run has in common.
struct RunDescription {
  std::string method;                      // "diffusion" or "standard"
  std::string checkpoint;                  // path as the user would name it
  std::optional<int64_t> num_samples = 0;  // none where the list is read as it comes
  int64_t first_sample = 0;
  std::optional<int64_t> mask_token_id;
  // The text form's settings header: a line `label: value` each, values aligned; a label alone where the value is empty
  // (the title, first). A value must be one line.
  std::vector<std::pair<std::string, std::string>> header;
};

// A finished sample and where it belongs.
struct Record {
  SampleIdentity identity;  // prompt_id: JSON text; empty where there is no list of prompts
  std::string text;
  std::vector<int64_t> tokens;
  double self_confidence = 0.0;
  std::optional<TextScore> score = {};  // where it is a scored text, which text and tokens are, or best_of's best
};

struct RunTotals {
  double elapsed_s = 0.0;  // of generation, or of scoring
  int64_t samples = 0;
  int64_t tokens = 0;         // generated or scored, over all samples
  int64_t forwards = 0;       // model calls, each over a whole batch
  double computed_share = 1;  // of the batches' positions, where a cache keeps some
};

// "1000 tokens in 0.500 s (2000 tokens/s, 20 forwards)"
std::string rate_in_words(const RunTotals& totals);

// Every function throws Error(failed) naming the output and the reason where it cannot be written.
class SampleWriter {
 public:
  virtual ~SampleWriter() = default;
  virtual void begin() = 0;
  // In any order. Those with an index below `frontier` have all been given by now, and come out in the order of their
  // indices.
  virtual void write(std::vector<Record> records, int64_t frontier) = 0;
  // After the last sample. Only now does a text file appear under its name.
  virtual void finish(const RunTotals& totals) = 0;
};

// The text form on an open descriptor (stdout), which stays open. `name` stands for it in errors.
std::unique_ptr<SampleWriter> make_text_writer(int descriptor, std::string name, const RunDescription& run);

// The text form in a file, opened at once, so that a path that cannot be written fails before sampling: Error(failed)
// that names path and reason. The file is complete or absent (an older file of
// that name stays until finish, symbolic links are followed). Devices, pipes and whatever stdout or stderr already go
// to are written straight.
std::unique_ptr<SampleWriter> make_text_file_writer(const std::string& path, const RunDescription& run);

// One JSON object a line, into a run file.
std::unique_ptr<SampleWriter> make_json_lines_writer(std::unique_ptr<RunFile> file, const RunDescription& run);

// The same where no run file is, in the order of the indices as far as their turn has come.
std::unique_ptr<SampleWriter> make_json_lines_writer(std::unique_ptr<Output> output, const RunDescription& run);

bool is_json_lines(const std::string& path);  // by its ending, .jsonl

}  // namespace demask
