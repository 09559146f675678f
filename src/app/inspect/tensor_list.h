// The tensors of a model's file as their headers describe them.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace demask {

struct ListedTensor {
  std::string name;
  std::string dtype;  // as dtype_in_words has it
  std::vector<int64_t> shape;
  bool is_weight = true;  // false for masks, copies and other buffers, which are no parameters
};

// "bfloat16" for the names that files have for it: "BF16", "torch.BFloat16Storage". A name that is not known stays.
std::string dtype_in_words(std::string_view stored);

// Sets `parameters`, `precision` and `tensors` of the facts.
void add_tensors(const std::vector<ListedTensor>& tensors, nlohmann::ordered_json& facts);

}  // namespace demask
