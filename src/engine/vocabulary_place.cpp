#include "engine/vocabulary_place.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <system_error>

#include "checkpoint/checkpoint_files.h"
#include "core/error.h"
#include "core/text.h"
#include "engine/installed.h"
#include "text/read_vocabulary.h"

namespace demask {
namespace {

namespace fs = std::filesystem;

constexpr const char* usual_dataset = "shakespeare_char";
constexpr const char* gpt2_dataset = "gpt2";

// GPT-2's tokens; with a mask, as MDLM has them; padded to a multiple of 64, as nanoGPT does.
constexpr std::array<int64_t, 3> gpt2_rows = {50257, 50258, 50304};

// What a tokenizer's folder may hold beside the vocabulary itself, and reading it looks at.
constexpr std::array<const char*, 4> companions = {"merges.txt", "added_tokens.json", "special_tokens_map.json",
                                                   "tokenizer_config.json"};

bool is_file(const fs::path& path) {
  std::error_code unknown;
  return fs::is_regular_file(path, unknown);
}

VocabularyPlace place_of(const fs::path& path, std::string notice = {}) {
  VocabularyPlace place{path.string(), {path.string()}, std::move(notice)};
  if (!starts_with(path.filename().string(), "meta.")) {
    for (const char* name : companions) {
      if (path.filename() != name && is_file(path.parent_path() / name)) {
        place.files.push_back((path.parent_path() / name).string());
      }
    }
  }
  return place;
}

// In data_dir; where that was left at its default and is not here, among what is installed.
VocabularyPlace place_in_dataset(const Config& config, const std::string& dataset) {
  const fs::path folder = fs::path(config.data_dir) / dataset;
  std::error_code unknown;
  if (config.data_dir == Config{}.data_dir && !fs::exists(config.data_dir, unknown)) {
    for (const fs::path& installed : installed_data()) {
      if (const auto path = vocabulary_in((installed / dataset).string())) {
        return place_of(*path,
                        fmt::format("there is no folder '{}' here, so the vocabulary of '{}' is the one installed "
                                    "with demask, '{}'.",
                                    config.data_dir, dataset, *path));
      }
    }
  }
  return place_of(vocabulary_in(folder.string()).value_or((folder / "meta.pkl").string()));
}

VocabularyPlace gpt2_place(const Config& config, const std::string& checkpoint, int64_t rows) {
  std::vector<fs::path> folders = installed_data();
  folders.insert(folders.begin(), fs::path(config.data_dir));
  std::string looked_in;
  for (const fs::path& folder : folders) {
    looked_in += (looked_in.empty() ? "" : ", ") + quote(folder.string());
    if (const auto path = vocabulary_in((folder / gpt2_dataset).string())) {
      return place_of(*path,
                      fmt::format("'{}' has {} tokens and no vocabulary beside it, so GPT-2's is taken, '{}'. Set "
                                  "--meta_path where that is wrong.",
                                  checkpoint, rows, *path));
    }
  }
  fail(ExitCode::bad_input,
       "'{}' has {} tokens, as GPT-2 has, but no vocabulary is beside it, and no folder '{}' with GPT-2's is in {}. "
       "Name "
       "one with --meta_path, such as data/gpt2 of demask's repository, or set --data_dir to the folder that has it.",
       checkpoint, rows, gpt2_dataset, looked_in);
}

}  // namespace

VocabularyPlace vocabulary_place(const Config& config, const std::string& checkpoint, const ModelInfo& model) {
  if (config.meta_path) {
    const fs::path named = *config.meta_path;
    std::error_code unknown;
    return place_of(fs::is_directory(named, unknown) ? vocabulary_in(named.string()).value_or(named.string())
                                                     : named.string());
  }
  const std::string own_folder = folder_of_checkpoint(checkpoint);
  if (const auto own = vocabulary_in(own_folder)) {
    const bool is_other = config.dataset && fs::path(config.data_dir) / *config.dataset != fs::path(own_folder);
    return place_of(*own, is_other ? fmt::format("the vocabulary beside the model is taken, '{}', before that of "
                                                 "dataset='{}'. --meta_path comes before both.",
                                                 *own, *config.dataset)
                                   : "");
  }
  const std::optional<std::string> dataset = config.dataset ? config.dataset : model.dataset;
  const bool may_be_gpt2 = !config.dataset && std::count(gpt2_rows.begin(), gpt2_rows.end(), model.output_size) > 0;
  if (may_be_gpt2 && (!dataset || !vocabulary_in((fs::path(config.data_dir) / *dataset).string()))) {
    return gpt2_place(config, checkpoint, model.output_size);
  }
  if (dataset) {
    return place_in_dataset(config, *dataset);
  }
  VocabularyPlace guessed = place_in_dataset(config, usual_dataset);
  guessed.notice = fmt::format(
      "'{}' does not say which dataset it was trained on, so its vocabulary is taken to be '{}'. Set --dataset or "
      "--meta_path where that is wrong.",
      checkpoint, guessed.path);
  return guessed;
}

}  // namespace demask
