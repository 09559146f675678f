#include "checkpoint/model_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "checkpoint/checkpoint_files.h"
#include "core/error.h"
#include "core/json.h"
#include "core/text.h"

namespace demask {
namespace {

using nlohmann::json;

// Real ones have a few kilobytes, and a hundred bytes a tensor.
constexpr uint64_t max_config_bytes = uint64_t{1} << 20;
constexpr uint64_t max_index_bytes = uint64_t{16} << 20;
constexpr int deepest_config = 12;
constexpr int deepest_index = 4;

constexpr InputFileKind config_kind{"model configuration",
                                    "A model's folder holds config.json beside its weights. Check --checkpoint_name."};
constexpr InputFileKind index_kind{"index of a model's shards", "Check --checkpoint_name."};

json read_object(const std::string& path, const InputFileKind& kind, uint64_t max_bytes, int deepest) {
  json object;
  try {
    object = parse_json(read_input_file(path, kind, max_bytes), deepest);
  } catch (const JsonFlaw& flaw) {
    fail(ExitCode::bad_input, "{} '{}': {}. Copy or save it again.", kind.what, path, flaw.what());
  }
  if (!object.is_object()) {
    fail(ExitCode::bad_input, "{} '{}' is a JSON {}; expected an object.", kind.what, path, object.type_name());
  }
  return object;
}

bool exists(const std::string& path) {
  std::error_code unknown;
  return std::filesystem::exists(path, unknown);
}

// A shard lies in the folder itself: an index may not name files elsewhere.
bool is_plain_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
         name.find('\\') == std::string::npos && name.find('\0') == std::string::npos;
}

std::string join(const std::string& folder, const std::string& name) {
  return (std::filesystem::path(folder) / name).string();
}

}  // namespace

bool is_model_folder(const std::string& path) {
  std::error_code unknown;
  return std::filesystem::is_directory(path, unknown) || ends_with(path, ".safetensors") || is_safetensors(path);
}

json read_config(const std::string& path) {
  return read_object(path, config_kind, max_config_bytes, deepest_config);
}

ModelFolder::ModelFolder(const std::string& path) : path_(path) {
  std::error_code unknown;
  const bool is_folder = std::filesystem::is_directory(path, unknown);
  folder_ = folder_of_checkpoint(path);
  config_path_ = join(folder_, config_name);
  const std::string weights = is_folder ? join(folder_, weights_name) : path;
  const std::string index = join(folder_, weights_index_name);
  if (is_folder && !exists(config_path_) && !exists(weights) && !exists(index)) {
    fail(ExitCode::bad_input,
         "'{}' is no model's folder: it has neither {} nor {}. {} Name the folder of a model, or the checkpoint in it.",
         path, config_name, weights_name, list_neighbours(config_path_));
  }
  if (!is_folder || exists(weights)) {
    open(weights);
  } else if (exists(index)) {
    open_shards(index);
  } else {
    fail(ExitCode::bad_input,
         "the model's folder '{}' has neither {} nor {}. {} Weights in another form can be saved so with "
         "save_pretrained(..., safe_serialization=True).",
         path, weights_name, weights_index_name, list_neighbours(config_path_));
  }
  config_ = read_config(config_path_);
}

void ModelFolder::open(const std::string& file_path) {
  const SafetensorsFile& file = files_.try_emplace(file_path, file_path).first->second;
  for (const auto& [name, entry] : file.tensors()) {
    const auto [holder, fresh] = holders_.emplace(name, &file);
    if (!fresh) {
      fail(ExitCode::bad_input, "the model's folder '{}': both '{}' and '{}' hold the tensor {}.", folder_,
           holder->second->path(), file_path, quote(name));
    }
    shapes_.emplace(name, entry.shape);
  }
}

// Of each shard, by name, the tensors that belong in it.
std::map<std::string, std::vector<std::string>> ModelFolder::read_index(const std::string& index_path) const {
  const auto refuse = [&](const std::string& why) {
    fail(ExitCode::bad_input, "{} '{}': {}.", index_kind.what, index_path, why);
  };
  const json index = read_object(index_path, index_kind, max_index_bytes, deepest_index);
  const auto map = index.find("weight_map");
  if (map == index.end() || !map->is_object() || map->empty()) {
    refuse("it has no 'weight_map', an object that names the file of each tensor");
  }
  std::map<std::string, std::vector<std::string>> shards;
  for (const auto& [tensor, shard] : map->items()) {
    if (!shard.is_string() || !is_plain_name(shard.get_ref<const std::string&>())) {
      refuse(fmt::format("the tensor {} is said to lie in {}; expected the name of a file in the same folder",
                         quote(tensor), shorten(dump_json(shard), 100)));
    }
    shards[shard.get<std::string>()].push_back(tensor);
  }
  return shards;
}

void ModelFolder::open_shards(const std::string& index_path) {
  const auto shards = read_index(index_path);
  for (const auto& [shard, tensors] : shards) {
    const std::string path = join(folder_, shard);
    if (!exists(path)) {
      fail(ExitCode::bad_input, "the shard '{}' is missing: '{}' puts the tensor {} and {} others into it. {}", path,
           index_path, quote(tensors.front()), tensors.size() - 1, list_neighbours(path));
    }
    open(path);
    const auto& held = files_.at(path).tensors();
    for (const std::string& tensor : tensors) {
      if (held.count(tensor) == 0) {
        fail(ExitCode::bad_input, "'{}' puts the tensor {} into '{}', which does not hold it.", index_path,
             quote(tensor), path);
      }
    }
    for (const auto& [tensor, entry] : held) {
      if (!std::binary_search(tensors.begin(), tensors.end(), tensor)) {
        fail(ExitCode::bad_input, "'{}' holds the tensor {}, which '{}' does not put there.", path, quote(tensor),
             index_path);
      }
    }
  }
}

}  // namespace demask
