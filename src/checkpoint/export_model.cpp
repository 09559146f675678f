#include "checkpoint/export_model.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <array>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "checkpoint/families/families.h"
#include "checkpoint/family_tensors.h"
#include "checkpoint/model_folder.h"
#include "checkpoint/weight_plan.h"
#include "core/error.h"
#include "core/json.h"
#include "core/staged_folder.h"
#include "core/text.h"

namespace demask {
namespace {

using nlohmann::ordered_json;
using Write = StagedFolder::Write;

// What reading a configuration would say of these weights.
Architecture architecture_of(const TransformerWeights& weights) {
  const LayerWeights& layer = weights.layers.front();
  Architecture architecture;
  architecture.description = weights.description;
  architecture.biases.norms = weights.final_norm.bias.defined();
  architecture.biases.query_key_value = layer.query_key_value.bias.defined();
  architecture.biases.attention_projection = layer.attention_projection.bias.defined();
  architecture.biases.feed_forward = layer.contract.bias.defined();
  architecture.biases.head = weights.head.bias.defined();
  architecture.query_key_norms = layer.query_norm.weight.defined();
  architecture.tied_head = weights.description.tied_head;
  architecture.dataset = weights.dataset;
  return architecture;
}

struct DtypeNames {
  at::ScalarType dtype;
  const char* stored;         // in a header of safetensors
  const char* configuration;  // in config.json
};

const DtypeNames& names_of(at::ScalarType dtype) {
  static constexpr std::array<DtypeNames, 3> dtypes{
      {{at::kFloat, "F32", "float32"}, {at::kHalf, "F16", "float16"}, {at::kBFloat16, "BF16", "bfloat16"}}};
  for (const DtypeNames& names : dtypes) {
    if (names.dtype == dtype) {
      return names;
    }
  }
  fail(ExitCode::failed, "a model whose weights are {} cannot be exported. Use --dtype=float32.", toString(dtype));
}

class SafetensorsWriter {
 public:
  void add(const std::string& name, const std::vector<int64_t>& shape, at::ScalarType dtype) {
    size_t bytes = c10::elementSize(dtype);
    for (const int64_t size : shape) {
      bytes *= static_cast<size_t>(size);
    }
    header_[name] = {{"dtype", names_of(dtype).stored}, {"shape", shape}, {"data_offsets", {end_, end_ + bytes}}};
    end_ += bytes;
  }

  // The length and the header, padded so that the tensors begin at a multiple of 8 bytes.
  std::string header() const {
    constexpr size_t alignment = 8;
    std::string text = dump_json(header_);
    text.append((alignment - text.size() % alignment) % alignment, ' ');
    std::string bytes;
    for (size_t i = 0; i < alignment; ++i) {
      bytes += static_cast<char>(text.size() >> (8 * i) & 0xff);
    }
    return bytes + text;
  }

 private:
  ordered_json header_{{"__metadata__", {{"format", "pt"}}}};
  size_t end_ = 0;
};

void write_tensor(const at::Tensor& tensor, const Write& write) {
  const at::Tensor values = tensor.contiguous();
  write({static_cast<const char*>(values.data_ptr()), values.nbytes()});
}

// The stored tensors that a planned one is made of, in order.
void write_slices(const PlannedTensor& planned, const at::Tensor& tensor, const Write& write) {
  const at::Tensor whole = tensor.to(at::kCPU);
  const bool transposed = planned.transposed && whole.dim() == 2;
  int64_t row = 0;
  for (const StoredSlice& slice : planned.slices) {
    const int64_t rows = slice.shape[transposed ? 1 : 0];
    const at::Tensor part = whole.narrow(0, row, rows);
    write_tensor(transposed ? part.t() : part, write);
    row += rows;
  }
}

void write_weights(const Family& family, const Architecture& architecture, const TransformerWeights& weights,
                   StagedFolder& folder) {
  TransformerWeights places = weights;  // shares the tensors
  const std::string prefix(family.names.prefixes.front());
  const WeightPlan plan = plan_weights(family, architecture, prefix);
  const NamedTensors extra = extra_tensors(family, weights);
  SafetensorsWriter writer;
  for (const PlannedTensor& planned : plan.tensors) {
    for (const StoredSlice& slice : planned.slices) {
      writer.add(slice.name, slice.shape, place_of(planned, places).scalar_type());
    }
  }
  for (const auto& [name, tensor] : extra) {
    writer.add(name, tensor.sizes().vec(), tensor.scalar_type());
  }
  folder.write(weights_name, [&](const Write& write) {
    write(writer.header());
    for (const PlannedTensor& planned : plan.tensors) {
      write_slices(planned, place_of(planned, places), write);
    }
    for (const auto& entry : extra) {
      write_tensor(entry.second, write);
    }
  });
}

// The fields of another config.json of the family, which the model's own are written over.
ordered_json kept_fields(const std::string& source, const Family& family) {
  if (source.empty()) {
    return ordered_json::object();
  }
  const nlohmann::json fields = read_config(source);
  return &find_family(fields, source) == &family ? ordered_json(fields) : ordered_json::object();
}

void write_config(const Family& family, const Architecture& architecture, const TransformerWeights& weights,
                  const std::string& source, StagedFolder& folder) {
  ordered_json config = kept_fields(source, family);
  config["architectures"] = {family.architectures.front()};
  config["model_type"] = family.model_type;
  config.update(family.write_config(architecture));
  config["torch_dtype"] = names_of(weights.token_embedding.scalar_type()).configuration;
  folder.write(config_name, [&](const Write& write) { write(dump_json(config, 2) + "\n"); });
}

void write_file(const ExportedFile& file, StagedFolder& folder) {
  constexpr InputFileKind kind{"file to export", "It is one of the model's vocabulary."};
  folder.write(file.name, [&](const Write& write) {
    if (file.source.empty()) {
      write(file.content);
      return;
    }
    uint64_t size = 0;
    std::ifstream source = open_input_file(file.source, kind, size);
    std::string piece(size_t{1} << 20, '\0');
    while (source.read(piece.data(), static_cast<std::streamsize>(piece.size())) || source.gcount() > 0) {
      write(std::string_view(piece).substr(0, static_cast<size_t>(source.gcount())));
    }
    if (source.bad()) {
      fail(ExitCode::bad_input, "{} '{}': it cannot be read.", kind.what, file.source);
    }
  });
}

}  // namespace

void export_model(const TransformerWeights& weights, const std::string& folder, const ExportOptions& options) {
  const Family& family = family_of(weights.description);
  const Architecture architecture = architecture_of(weights);
  StagedFolder staged("--export", folder);
  write_config(family, architecture, weights, options.config_source, staged);
  for (const ExportedFile& file : options.files) {
    write_file(file, staged);
  }
  write_weights(family, architecture, weights, staged);
  staged.publish();
}

}  // namespace demask
