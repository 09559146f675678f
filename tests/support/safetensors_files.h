// Small files of safetensors and models' folders, well-formed or not, for tests.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/process.h"

namespace demask::testing {

inline std::string length_prefix(uint64_t length) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) {
    bytes += static_cast<char>(length >> (8 * i) & 0xff);
  }
  return bytes;
}

// A file whose header has this text.
inline std::string safetensors_of(const std::string& header, const std::string& data = "") {
  return length_prefix(header.size()) + header + data;
}

// The same of float32 tensors, one after another.
inline std::string safetensors_of(const std::map<std::string, at::Tensor>& tensors) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor values = tensor.to(at::kFloat).contiguous();
    header[name] = {{"dtype", "F32"},
                    {"shape", values.sizes().vec()},
                    {"data_offsets", {data.size(), data.size() + values.nbytes()}}};
    data.append(static_cast<const char*>(values.data_ptr()), values.nbytes());
  }
  return safetensors_of(header.dump(), data);
}

// A model's folder to be changed and written.
struct ModelFiles {
  nlohmann::json config;
  std::map<std::string, at::Tensor> tensors;
  std::map<std::string, std::string> others;  // files by name

  void write(const std::string& folder) const {
    std::filesystem::create_directories(folder);
    write_file(folder + "/config.json", config.dump());
    if (!tensors.empty()) {
      write_file(folder + "/model.safetensors", safetensors_of(tensors));
    }
    for (const auto& [name, content] : others) {
      write_file(folder + "/" + name, content);
    }
  }
};

// A GPT-2 of one layer, two heads, 4 wide, 5 tokens, 6 positions.
inline ModelFiles tiny_gpt2() {
  ModelFiles files;
  files.config = {{"model_type", "gpt2"},
                  {"architectures", {"GPT2LMHeadModel"}},
                  {"n_layer", 1},
                  {"n_head", 2},
                  {"n_embd", 4},
                  {"n_positions", 6},
                  {"vocab_size", 5},
                  {"layer_norm_epsilon", 1e-5},
                  {"activation_function", "gelu_new"}};
  const std::vector<std::pair<std::string, std::vector<int64_t>>> shapes{{"wte.weight", {5, 4}},
                                                                         {"wpe.weight", {6, 4}},
                                                                         {"h.0.ln_1.weight", {4}},
                                                                         {"h.0.ln_1.bias", {4}},
                                                                         {"h.0.attn.c_attn.weight", {4, 12}},
                                                                         {"h.0.attn.c_attn.bias", {12}},
                                                                         {"h.0.attn.c_proj.weight", {4, 4}},
                                                                         {"h.0.attn.c_proj.bias", {4}},
                                                                         {"h.0.ln_2.weight", {4}},
                                                                         {"h.0.ln_2.bias", {4}},
                                                                         {"h.0.mlp.c_fc.weight", {4, 16}},
                                                                         {"h.0.mlp.c_fc.bias", {16}},
                                                                         {"h.0.mlp.c_proj.weight", {16, 4}},
                                                                         {"h.0.mlp.c_proj.bias", {4}},
                                                                         {"ln_f.weight", {4}},
                                                                         {"ln_f.bias", {4}}};
  for (const auto& [name, shape] : shapes) {
    int64_t count = 1;
    for (const int64_t size : shape) {
      count *= size;
    }
    files.tensors.emplace(name, at::arange(count, at::kFloat).reshape(shape));
  }
  return files;
}

}  // namespace demask::testing
