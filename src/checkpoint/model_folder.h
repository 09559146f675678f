// A model's folder as the field's libraries write it: config.json, and model.safetensors or shards with an index.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "checkpoint/compare_tensors.h"
#include "checkpoint/safetensors.h"

namespace demask {

inline constexpr const char* config_name = "config.json";
inline constexpr const char* weights_name = "model.safetensors";
inline constexpr const char* weights_index_name = "model.safetensors.index.json";

// True for what ModelFolder takes: a folder, or a file of safetensors, told by its content or its name.
bool is_model_folder(const std::string& path);

// A config.json of at most 1 MB. Throws Error(bad_input) that names it where it cannot be read or is no JSON object.
nlohmann::json read_config(const std::string& path);

class ModelFolder {
 public:
  // `path` is the folder, of whose model.safetensors comes before an index, or one file beside its config.json.
  // Throws Error(bad_input) that names file and tensor: a file that is missing or damaged; a shard that is no plain
  // name of a file in the folder; a tensor that the index puts into a shard which lacks it, that a shard holds without
  // the index saying so, or that two shards hold.
  explicit ModelFolder(const std::string& path);

  const std::string& path() const { return path_; }
  const std::string& config_path() const { return config_path_; }
  const nlohmann::json& config() const { return config_; }

  const ShapesByName& shapes() const { return shapes_; }

  // As SafetensorsFile has them; the name must be one of shapes().
  at::Tensor read(const std::string& tensor) const;
  void drop(const std::string& tensor) const { file_of(tensor).drop(tensor); }

  // The file that holds a tensor.
  const SafetensorsFile& file_of(const std::string& tensor) const { return *holders_.at(tensor); }

 private:
  std::map<std::string, std::vector<std::string>> read_index(const std::string& index_path) const;
  void open(const std::string& file_path);
  void open_shards(const std::string& index_path);

  std::string path_;
  std::string folder_;
  std::string config_path_;
  nlohmann::json config_;
  std::map<std::string, SafetensorsFile> files_;  // by path
  std::map<std::string, const SafetensorsFile*> holders_;
  ShapesByName shapes_;
};

}  // namespace demask
