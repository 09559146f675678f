#include <algorithm>
#include <filesystem>
#include <vector>

#include "app/inspect/kinds.h"
#include "app/inspect/model_use.h"
#include "app/inspect/module_report.h"
#include "app/inspect/tensor_list.h"
#include "checkpoint/archive.h"
#include "checkpoint/checkpoint_files.h"
#include "checkpoint/families/families.h"
#include "checkpoint/model_folder.h"
#include "checkpoint/nanogpt_file.h"
#include "checkpoint/pickle.h"
#include "checkpoint/planned_folder.h"
#include "core/text.h"
#include "model/model_info.h"

namespace demask {
namespace {

using Json = nlohmann::ordered_json;

Json model_facts(const TransformerDescription& of) {
  Json facts;
  facts["family"] = of.family;
  facts["layers"] = of.layers;
  facts["heads"] = of.heads;
  if (of.key_value_heads != of.heads) {
    facts["key_value_heads"] = of.key_value_heads;
  }
  facts["width"] = of.width;
  facts["feed_forward_width"] = of.feed_forward_width;
  facts["block_size"] = of.block_size;
  facts["vocabulary_size"] = of.vocabulary_size;
  facts["outputs"] = of.outputs;
  facts["positions"] = of.rotary ? "rotary" : "absolute";
  facts["attention"] = of.bidirectional ? "bidirectional" : "causal";
  facts["tied_head"] = of.tied_head;
  if (of.shifted) {
    facts["shifted"] = true;
  }
  if (of.mask_token_id) {
    facts["mask_token_id"] = *of.mask_token_id;
  }
  return facts;
}

void add_model(const Config& config, const std::string& path, const TransformerDescription& description,
               const std::optional<std::string>& dataset, FileReport& report) {
  report.facts["model"] = model_facts(description);
  const ModelInfo info = info_of(description, dataset);
  if (info.dataset) {
    report.facts["model"]["dataset"] = *info.dataset;
  }
  add_use(config, path, info, report);
}

uint64_t bytes_of(const std::vector<std::string>& files) {
  uint64_t bytes = 0;
  for (const std::string& file : files) {
    std::error_code unknown;
    const auto size = std::filesystem::file_size(file, unknown);
    bytes += unknown ? 0 : size;
  }
  return bytes;
}

Json keys_of(const PickleValue& root) {
  constexpr size_t most = 50;
  Json keys = Json::array();
  for (size_t i = 0; root.kind == PickleValue::Kind::dict && i < root.items.size() && keys.size() < most; i += 2) {
    if (root.items[i]->kind == PickleValue::Kind::text) {
      keys.push_back(printable(root.items[i]->text, most));
    }
  }
  return keys;
}

std::vector<ListedTensor> tensors_of(const NanoGptFile& file) {
  std::vector<ListedTensor> list;
  for (const auto& [name, stored] : file.tensors()) {
    list.push_back({name, std::string(name_of(stored.dtype)), stored.sizes});
  }
  return list;
}

// Buffers, and a head that is stored although it is the token embedding, are no parameters.
std::vector<ListedTensor> tensors_of(const ModelFolder& folder, const Family* family, bool tied_head) {
  const auto is_weight = [&](const std::string& name) {
    if (family == nullptr) {
      return true;
    }
    return !is_buffer(*family, name) && !(tied_head && ends_with(name, std::string(family->names.head) + ".weight"));
  };
  std::vector<ListedTensor> list;
  for (const auto& [name, shape] : folder.shapes()) {
    const SafetensorsEntry& entry = folder.file_of(name).tensors().at(name);
    list.push_back({name, dtype_in_words(entry.dtype), entry.shape, is_weight(name)});
  }
  return list;
}

}  // namespace

FileReport report_on_zip(const Config& config, const std::string& path) {
  const Archive archive(path);
  FileReport report;
  Json& facts = report.facts;
  facts["file"] = path;
  if (archive.is_torchscript()) {
    add_module(config, archive, report);
    return report;
  }
  const Pickle pickle(archive.read("data.pkl"), "checkpoint '" + path + "'");
  facts["kind"] = "file of torch.save";
  facts["bytes"] = bytes_of({path});
  facts["keys"] = keys_of(pickle.root());
  try {
    const NanoGptFile file(path);
    facts["kind"] = "nanoGPT training checkpoint";
    add_model(config, path, description_of(file.args()), file.dataset(), report);
    add_tensors(tensors_of(file), facts);
  } catch (const Error& error) {
    report.refuse(error);
  }
  return report;
}

FileReport report_on_model_folder(const Config& config, const std::string& path) {
  const ModelFolder folder(path);
  FileReport report;
  Json& facts = report.facts;
  const std::vector<std::string> files = checkpoint_files(path);
  facts["file"] = path;
  facts["kind"] = "model folder";
  facts["bytes"] = bytes_of(files);
  facts["files"] = files;
  for (const char* key : {"model_type", "architectures", "torch_dtype"}) {
    if (const auto found = folder.config().find(key); found != folder.config().end()) {
      facts[key] = *found;
    }
  }
  const Family* family = nullptr;
  bool tied_head = false;
  try {
    family = &find_family(folder.config(), folder.config_path());
    const PlannedFolder planned(path);
    tied_head = planned.description().tied_head;
    add_model(config, path, planned.description(), planned.dataset(), report);
  } catch (const Error& error) {
    report.refuse(error);
  }
  add_tensors(tensors_of(folder, family, tied_head), facts);
  return report;
}

}  // namespace demask
