// Puts the run files of shards together into the file of one run.
#pragma once

#include <set>
#include <string>

namespace demask {

// Joins the files of all shards of a run, which `pattern` (as for glob(3)) matches in whatever order, to the file that
// one run alone would have written. A regular `output` appears or is replaced only once it is complete. Throws
// Error(bad_input) where a file is missing, incomplete, there twice or of another run, Error(bad_usage) where `output`
// is one of them, Error(failed) where one is still being written or `output` cannot be.
void merge_run_files(const std::string& pattern, const std::string& output, const std::set<std::string>& not_compared);

}  // namespace demask
