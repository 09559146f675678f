#include "checkpoint/nanogpt_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "checkpoint/archive.h"
#include "checkpoint/compare_tensors.h"
#include "checkpoint/pickle.h"
#include "core/error.h"
#include "core/text.h"

namespace demask {
namespace {

using Kind = PickleValue::Kind;
using Tensors = std::map<std::string, StoredTensor>;

// What torch.compile, DataParallel and training code that keeps the model in an attribute put before every name.
constexpr std::array<std::string_view, 3> wrapper_prefixes = {"_orig_mod.", "module.", "model."};
constexpr std::string_view rebuild_tensor = "torch._utils._rebuild_tensor_v2";
constexpr std::string_view rebuild_parameter = "torch._utils._rebuild_parameter";

// One text or tuple of a pickle may be shared by every tensor in it, so what is copied from it is kept short, as are
// shapes.
constexpr size_t max_key_length = 100;

// --- tensors as the pickle describes them ---

class TensorReader {
 public:
  TensorReader(const std::string& path, const std::string& name) : path_(path), name_(name) {}

  StoredTensor read(const PickleValue& value) const {
    if (is_call_of(value, rebuild_parameter, 1)) {
      return read_tensor(*value.items[1]);
    }
    return read_tensor(value);
  }

 private:
  [[noreturn]] void refuse(const std::string& why) const {
    fail(ExitCode::bad_input, "checkpoint '{}': {} {}.", path_, quote(name_), why);
  }

  // _rebuild_tensor_v2(storage, storage_offset, size, stride, ...)
  StoredTensor read_tensor(const PickleValue& value) const {
    if (!is_call_of(value, rebuild_tensor, 4)) {
      refuse(fmt::format("is {}; expected a tensor", describe(value)));
    }
    StoredTensor tensor;
    read_storage(*value.items[1], tensor);
    tensor.offset = integer(*value.items[2]);
    tensor.sizes = integers(*value.items[3]);
    tensor.strides = integers(*value.items[4]);
    return tensor;
  }

  // The persistent id ('storage', torch.FloatStorage, key, device, elements).
  void read_storage(const PickleValue& value, StoredTensor& tensor) const {
    const PickleValue* id = value.kind == Kind::persistent_id ? value.items[0] : nullptr;
    const bool understood = id != nullptr && id->kind == Kind::tuple && id->items.size() == 5 &&
                            id->items[1]->kind == Kind::global && id->items[2]->kind == Kind::text &&
                            id->items[2]->text.size() <= max_key_length;
    if (!understood) {
      refuse("has a storage that torch.save did not write");
    }
    tensor.dtype = dtype(id->items[1]->text);
    tensor.storage = id->items[2]->text;
    tensor.storage_numel = integer(*id->items[4]);
  }

  ElementType dtype(const std::string& storage_type) const {
    if (storage_type == "torch.FloatStorage") {
      return ElementType::float32;
    }
    if (storage_type == "torch.HalfStorage") {
      return ElementType::float16;
    }
    if (storage_type == "torch.BFloat16Storage") {
      return ElementType::bfloat16;
    }
    if (storage_type == "torch.DoubleStorage") {
      return ElementType::float64;
    }
    refuse(fmt::format("is stored as {}; expected float32, float16, bfloat16 or float64", quote(storage_type)));
  }

  int64_t integer(const PickleValue& value) const {
    if (value.kind != Kind::integer) {
      refuse(fmt::format("has {} where an integer belongs", describe(value)));
    }
    return value.integer;
  }

  std::vector<int64_t> integers(const PickleValue& value) const {
    if (value.kind != Kind::tuple) {
      refuse(fmt::format("has {} where a tuple belongs", describe(value)));
    }
    if (value.items.size() > max_dimensions) {
      refuse(fmt::format("has {} dimensions", value.items.size()));
    }
    std::vector<int64_t> numbers;
    for (const PickleValue* item : value.items) {
      numbers.push_back(integer(*item));
    }
    return numbers;
  }

  const std::string& path_;
  const std::string& name_;
};

// torch.optim.swa_utils.AveragedModel counts its updates beside the model.
bool is_counter(std::string_view key) {
  return key == "n_averaged";
}

// A name, and what the state dict has under it; both belong to the pickle.
using Entry = std::pair<std::string_view, const PickleValue*>;

std::vector<Entry> entries_of(const PickleValue& state_dict, const std::string& path) {
  std::vector<Entry> entries;
  for (size_t i = 0; i + 1 < state_dict.items.size(); i += 2) {
    const PickleValue& key = *state_dict.items[i];
    if (key.kind != Kind::text) {
      fail(ExitCode::bad_input, "checkpoint '{}': 'model' has {} for a tensor name.", path, describe(key));
    }
    if (!is_counter(key.text)) {
      entries.emplace_back(key.text, state_dict.items[i + 1]);
    }
  }
  return entries;
}

// Strips the prefixes of wrappers, in any mix, as far as all names have them.
void strip_wrappers(std::vector<Entry>& entries) {
  const auto all_have = [&](std::string_view prefix) {
    return !entries.empty() && std::all_of(entries.begin(), entries.end(), [&](const Entry& entry) {
      return entry.first.substr(0, prefix.size()) == prefix;
    });
  };
  for (;;) {
    const auto prefix = std::find_if(wrapper_prefixes.begin(), wrapper_prefixes.end(), all_have);
    if (prefix == wrapper_prefixes.end()) {
      return;
    }
    for (Entry& entry : entries) {
      entry.first.remove_prefix(prefix->size());
    }
  }
}

// Every tensor of the state dict but the causal-mask buffers, by its name without the prefixes of wrappers.
Tensors read_state_dict(const PickleValue& state_dict, const std::string& path) {
  Tensors tensors;
  std::vector<Entry> entries = entries_of(state_dict, path);
  strip_wrappers(entries);
  for (const auto& [key, value] : entries) {
    // transformer.h.0.attn.bias is the mask; attn.c_attn.bias and attn.c_proj.bias are parameters.
    if (ends_with(key, ".attn.bias") || ends_with(key, ".attn.masked_bias")) {
      continue;
    }
    const std::string name(key);
    const bool added = tensors.emplace(name, TensorReader(path, name).read(*value)).second;
    if (!added) {
      fail(ExitCode::bad_input, "checkpoint '{}' holds the tensor {} twice.", path, quote(name));
    }
  }
  return tensors;
}

bool same_place(const StoredTensor& a, const StoredTensor& b) {
  return a.storage == b.storage && a.dtype == b.dtype && a.offset == b.offset && a.sizes == b.sizes &&
         a.strides == b.strides;
}

// A head that is the token embedding, left out of the file or stored as the same memory, is dropped from `tensors`.
bool drop_tied_head(const ModelArgs& args, Tensors& tensors) {
  if (args.binary_classification) {
    return false;
  }
  const auto stored_head = tensors.find(head_name);
  if (stored_head == tensors.end()) {
    return true;
  }
  const auto embedding = tensors.find(token_embedding_name);
  if (embedding == tensors.end() || !same_place(stored_head->second, embedding->second)) {
    return false;
  }
  tensors.erase(stored_head);
  return true;
}

void compare_with_architecture(const ModelArgs& args, const Tensors& tensors, const std::string& path) {
  ShapesByName found;
  for (const auto& [name, tensor] : tensors) {
    found.emplace(name, tensor.sizes);
  }
  const std::string differences = compare_tensors(expected_parameters(args), found);
  if (!differences.empty()) {
    fail(ExitCode::bad_input, "checkpoint '{}': its tensors do not fit its model_args.{}", path, differences);
  }
}

// --- the checkpoint ---

const PickleValue& required_dict(const PickleValue& checkpoint, const char* key, const std::string& path) {
  const PickleValue* value = find(checkpoint, key);
  if (value == nullptr) {
    fail(ExitCode::bad_input,
         "checkpoint '{}' has no '{}' (keys found: {}). demask reads nanoGPT's dict with 'model' and 'model_args'; a "
         "plain state dict "
         "does not say how the model is built.",
         path, key, list_keys(checkpoint));
  }
  if (value->kind != Kind::dict) {
    fail(ExitCode::bad_input, "checkpoint '{}': '{}' is {}; expected a dict.", path, key, describe(*value));
  }
  return *value;
}

std::optional<std::string> read_dataset(const PickleValue& checkpoint) {
  const PickleValue* config = find(checkpoint, "config");
  if (config == nullptr || config->kind != Kind::dict) {
    return std::nullopt;
  }
  const PickleValue* dataset = find(*config, "dataset");
  if (dataset == nullptr || dataset->kind != Kind::text) {
    return std::nullopt;
  }
  return dataset->text;
}

}  // namespace

NanoGptFile::NanoGptFile(const std::string& path) : archive_(path) {
  if (archive_.is_torchscript()) {
    fail(ExitCode::bad_input, "checkpoint '{}' is a TorchScript module, not a training checkpoint.", path);
  }
  const Pickle pickle(archive_.read("data.pkl"), fmt::format("checkpoint '{}'", path));
  const PickleValue& root = pickle.root();
  if (root.kind != Kind::dict) {
    fail(ExitCode::bad_input, "checkpoint '{}' is {}; expected a dict with 'model' and 'model_args'.", path,
         describe(root));
  }

  const PickleValue& state_dict = required_dict(root, "model", path);
  args_ = read_model_args(required_dict(root, "model_args", path), path);
  dataset_ = read_dataset(root);

  tensors_ = read_state_dict(state_dict, path);
  args_.tied_head = drop_tied_head(args_, tensors_);
  compare_with_architecture(args_, tensors_, path);
  for (const auto& [name, tensor] : tensors_) {
    archive_.check(tensor, name);
  }
}

std::vector<std::string> NanoGptFile::names() const {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors_) {
    names.push_back(name);
  }
  return names;
}

}  // namespace demask
