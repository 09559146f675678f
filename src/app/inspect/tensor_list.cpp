#include "app/inspect/tensor_list.h"

#include <array>
#include <map>
#include <utility>

namespace demask {

std::string dtype_in_words(std::string_view stored) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 20> names = {{
      {"F64", "float64"},
      {"F32", "float32"},
      {"F16", "float16"},
      {"BF16", "bfloat16"},
      {"I64", "int64"},
      {"I32", "int32"},
      {"I16", "int16"},
      {"I8", "int8"},
      {"U8", "uint8"},
      {"BOOL", "bool"},
      {"torch.DoubleStorage", "float64"},
      {"torch.FloatStorage", "float32"},
      {"torch.HalfStorage", "float16"},
      {"torch.BFloat16Storage", "bfloat16"},
      {"torch.LongStorage", "int64"},
      {"torch.IntStorage", "int32"},
      {"torch.ShortStorage", "int16"},
      {"torch.CharStorage", "int8"},
      {"torch.ByteStorage", "uint8"},
      {"torch.BoolStorage", "bool"},
  }};
  for (const auto& [name, words] : names) {
    if (name == stored) {
      return std::string(words);
    }
  }
  return std::string(stored);
}

void add_tensors(const std::vector<ListedTensor>& tensors, nlohmann::ordered_json& facts) {
  double parameters = 0;  // what a hostile header claims may be beyond any integer
  std::map<std::string, double> by_dtype;
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const ListedTensor& tensor : tensors) {
    double elements = 1;
    for (const int64_t size : tensor.shape) {
      elements *= static_cast<double>(size);
    }
    if (tensor.is_weight) {
      parameters += elements;
      by_dtype[tensor.dtype] += elements;
    }
    list.push_back({{"name", tensor.name}, {"dtype", tensor.dtype}, {"shape", tensor.shape}});
  }
  constexpr double exact = 9007199254740992.0;  // 2^53
  const auto count = [](double number) -> nlohmann::ordered_json {
    return number <= exact ? nlohmann::ordered_json(static_cast<int64_t>(number)) : nlohmann::ordered_json(number);
  };
  facts["parameters"] = count(parameters);
  for (const auto& [dtype, elements] : by_dtype) {
    facts["precision"][dtype] = count(elements);
  }
  facts["tensors"] = std::move(list);
}

}  // namespace demask
