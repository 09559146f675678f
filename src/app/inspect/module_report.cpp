#include "app/inspect/module_report.h"

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "app/inspect/model_use.h"
#include "app/inspect/tensor_list.h"
#include "checkpoint/pickle.h"
#include "core/json.h"
#include "core/text.h"

namespace demask {
namespace {

using Json = nlohmann::ordered_json;
using Kind = PickleValue::Kind;

constexpr size_t longest_name = 200;

// A tensor of a pickle, as far as it says: (storage, offset, sizes, ...), the storage ('storage', type, ...).
std::optional<ListedTensor> tensor_of(const PickleValue& value) {
  if (!is_call_of(value, "torch._utils._rebuild_tensor_v2", 3) || value.items[3]->kind != Kind::tuple ||
      value.items[1]->kind != Kind::persistent_id) {
    return std::nullopt;
  }
  const PickleValue& id = *value.items[1]->items[0];
  if (id.kind != Kind::tuple || id.items.size() < 2 || id.items[1]->kind != Kind::global) {
    return std::nullopt;
  }
  ListedTensor tensor;
  tensor.dtype = dtype_in_words(shorten(id.items[1]->text, longest_name));
  for (const PickleValue* size : value.items[3]->items) {
    if (size->kind != Kind::integer || size->integer < 0) {
      return std::nullopt;
    }
    tensor.shape.push_back(size->integer);
  }
  return tensor;
}

// Walks through a module's attributes. Modules may be shared and, in a hostile file, go in circles or nest as deep as
// the pickle is long, so each is looked at once and those that wait stand in a list.
std::vector<ListedTensor> tensors_of_module(const PickleValue& root) {
  std::vector<ListedTensor> tensors;
  std::set<const PickleValue*> seen;
  std::vector<std::pair<std::string, const PickleValue*>> waiting = {{"", &root}};
  while (!waiting.empty()) {
    const auto [prefix, module] = std::move(waiting.back());
    waiting.pop_back();
    if (module->state == nullptr || module->state->kind != Kind::dict || !seen.insert(module).second) {
      continue;
    }
    std::vector<std::pair<std::string, const PickleValue*>> parts;
    for (size_t i = 0; i + 1 < module->state->items.size(); i += 2) {
      const PickleValue& key = *module->state->items[i];
      const PickleValue* value = module->state->items[i + 1];
      if (key.kind != Kind::text || value->kind != Kind::call) {
        continue;
      }
      const std::string name = prefix + printable(key.text, longest_name);
      if (std::optional<ListedTensor> tensor = tensor_of(*value)) {
        tensor->name = shorten(name, longest_name);
        tensors.push_back(std::move(*tensor));
      } else {
        parts.emplace_back(shorten(name, longest_name) + ".", value);
      }
    }
    waiting.insert(waiting.end(), parts.rbegin(), parts.rend());
  }
  return tensors;
}

// An object that an extra file holds; null where the module has none.
Json extra_file(const Archive& archive, const char* name) {
  const std::string record = std::string("extra/") + name;
  if (!archive.has(record)) {
    return nullptr;
  }
  constexpr int deepest = 8;
  try {
    const Json object = parse_json(archive.read(record), deepest);
    if (object.is_object()) {
      return object;
    }
  } catch (const JsonFlaw&) {
    // As for one that is no object.
  }
  fail(ExitCode::bad_input, "{}: its extra file {} is not a JSON object", archive.path(), name);
}

template <typename Value>
std::optional<Value> get(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (!object.is_object() || found == object.end()) {
    return std::nullopt;
  }
  const bool fits = std::is_same_v<Value, bool>          ? found->is_boolean()
                    : std::is_same_v<Value, std::string> ? found->is_string()
                                                         : found->is_number_integer();
  return fits ? std::optional<Value>(found->template get<Value>()) : std::nullopt;
}

ModelInfo info_of_module(const Json& args, const Json& config, const std::vector<ListedTensor>& tensors) {
  ModelInfo info;
  info.block_size = get<int64_t>(args, "block_size").value_or(0);
  info.output_size = get<int64_t>(args, "vocab_size").value_or(0);
  info.binary_classification = get<bool>(args, "binary_classification").value_or(false);
  info.dataset = get<std::string>(config, "dataset");
  if (args.is_object()) {
    info.bidirectional = get<std::string>(args, "attention_type").value_or("causal") == "bidirectional";
    info.causal = !info.bidirectional;
  }
  for (const ListedTensor& tensor : tensors) {
    if (ends_with(tensor.name, "lm_head.weight") && tensor.shape.size() == 2 && !info.binary_classification) {
      info.output_size = tensor.shape[0];
    }
    if (ends_with(tensor.name, "wpe.weight") && tensor.shape.size() == 2 && info.block_size == 0) {
      info.block_size = tensor.shape[0];
    }
  }
  return info;
}

}  // namespace

void add_module(const Config& config, const Archive& archive, FileReport& report) {
  Json& facts = report.facts;
  facts["kind"] = "TorchScript module";
  const Pickle pickle(archive.read("data.pkl"), "checkpoint '" + archive.path() + "'");
  const std::vector<ListedTensor> tensors = tensors_of_module(pickle.root());
  try {
    const Json args = extra_file(archive, "model_args.json"), training = extra_file(archive, "config.json");
    facts["exported_by"] = args.is_null() ? "another program" : "tools/export_torchscript.py";
    if (!args.is_null()) {
      facts["model_args"] = args;
    }
    const ModelInfo info = info_of_module(args, training, tensors);
    if (info.output_size > 0 || info.binary_classification) {
      add_use(config, archive.path(), info, report);
    } else {
      facts["use"] = "not known before it runs: no extra file says what it takes";
    }
    facts["code"] = "looked at when it is loaded, and refused where it does more than compute";
  } catch (const Error& error) {
    report.refuse(error);
  }
  add_tensors(tensors, facts);
}

}  // namespace demask
