#include "model/torchscript_file.h"

#include <ATen/ATen.h>
#include <caffe2/serialize/file_adapter.h>
#include <fmt/format.h>
#include <torch/csrc/jit/serialization/import.h>

#include <exception>
#include <nlohmann/json.hpp>
#include <string_view>

#include "checkpoint/finite_weights.h"
#include "core/error.h"
#include "core/json.h"
#include "core/text.h"
#include "model/torchscript_code.h"

namespace demask {
namespace {

using torch::jit::Module;

Module load_module(const std::string& path, at::Device device, torch::jit::ExtraFilesMap& extra_files) {
  try {
    // One open file for the check and the load, so that both see the same bytes.
    const ModuleFile file = std::make_shared<caffe2::serialize::FileAdapter>(path);
    refuse_code_that_runs_on_load(path, file);
    return torch::jit::load(file, device, extra_files);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& exception) {
    fail(ExitCode::bad_input, "{}: cannot be loaded as TorchScript: {}", path, reason_of(exception));
  }
}

// --- what the extra files say ---

nlohmann::json parse_extra_file(const std::string& path, const std::string& name, const std::string& text) {
  if (text.empty()) {
    return nlohmann::json::object();
  }
  auto parsed = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object()) {
    fail(ExitCode::bad_input, "{}: its extra file {} is not a JSON object", path, name);
  }
  return parsed;
}

int64_t size_argument(const std::string& path, const nlohmann::json& args, const char* key) {
  constexpr int64_t largest = 1 << 24;
  const auto found = args.find(key);
  if (found == args.end()) {
    return 0;
  }
  if (!found->is_number_integer() || found->get<int64_t>() < 1 || found->get<int64_t>() > largest) {
    fail(ExitCode::bad_input, "{}: model_args.json has {} = {}, which should be an integer from 1 to {}", path, key,
         dump_json(*found), largest);
  }
  return found->get<int64_t>();
}

std::string text_argument(const nlohmann::json& args, const char* key, const char* otherwise) {
  const auto found = args.find(key);
  return found != args.end() && found->is_string() ? found->get<std::string>() : otherwise;
}

int64_t rows_of_position_table(const Module& module) {
  for (const auto& parameter : module.named_parameters()) {
    if (ends_with(parameter.name, "wpe.weight") && parameter.value.dim() == 2) {
      return parameter.value.size(0);
    }
  }
  return 0;
}

void describe(const std::string& path, const torch::jit::ExtraFilesMap& extra_files, CheckedModule& checked) {
  const auto args = parse_extra_file(path, "model_args.json", extra_files.at("model_args.json"));
  const auto config = parse_extra_file(path, "config.json", extra_files.at("config.json"));
  ModelInfo& info = checked.info;
  info.block_size = size_argument(path, args, "block_size");
  if (info.block_size == 0) {
    info.block_size = rows_of_position_table(checked.module);
  }
  if (const auto found = args.find("binary_classification"); found != args.end()) {
    info.binary_classification = found->is_boolean() && found->get<bool>();
  }
  if (const auto found = config.find("dataset"); found != config.end() && found->is_string()) {
    info.dataset = found->get<std::string>();
  }
  if (args.empty()) {
    info.description = "TorchScript";
  } else {
    const std::string attention = text_argument(args, "attention_type", "causal");
    info.causal = attention == "causal";
    info.bidirectional = attention == "bidirectional";
    checked.n_head = size_argument(path, args, "n_head");
    info.description = fmt::format(
        "TorchScript, {} layers, {} heads, {} wide, {}, {}", size_argument(path, args, "n_layer"), checked.n_head,
        size_argument(path, args, "n_embd"), text_argument(args, "position_encoding", "absolute"), attention);
  }
}

// --- tensors ---

at::Tensor converted(const at::Tensor& tensor, const LoadOptions& options) {
  return tensor.to(options.device, tensor.is_floating_point() ? options.dtype : tensor.scalar_type());
}

// Tracing writes the device it ran on, and the tensors it did not recognise as parameters, into the graph.
void move_constant(torch::jit::Node& node, const LoadOptions& options) {
  if (node.kind() != c10::prim::Constant || !node.hasAttribute(c10::attr::value)) {
    return;
  }
  if (node.output()->type()->kind() == c10::TypeKind::DeviceObjType) {
    node.s_(c10::attr::value, options.device.str());
  } else if (node.kindOf(c10::attr::value) == torch::jit::AttributeKind::t) {
    node.t_(c10::attr::value, converted(node.t(c10::attr::value), options));
  }
}

// A mask of causal attention may be a parameter and holds -inf; a weight does not.
bool is_mask(const at::Tensor& tensor) {
  return !at::isnan(tensor).any().item<bool>() && !at::isposinf(tensor).any().item<bool>();
}

}  // namespace

// The one line of a LibTorch exception that says what went wrong, without C++ and TorchScript backtraces.
std::string reason_of(const std::exception& exception) {
  const auto* error = dynamic_cast<const c10::Error*>(&exception);
  std::string text = error != nullptr ? error->what_without_backtrace() : exception.what();
  // The interpreter turns every exception into text that ends "...\nRuntimeError: <message>".
  constexpr std::string_view marker = "RuntimeError: ";
  if (const auto start = text.rfind(marker); start != std::string::npos) {
    text.erase(0, start + marker.size());
  }
  return text.substr(0, text.find('\n'));
}

CheckedModule read_module(const std::string& path, at::Device device) {
  torch::jit::ExtraFilesMap extra_files{{"model_args.json", ""}, {"config.json", ""}};
  CheckedModule checked;
  checked.module = load_module(path, device, extra_files);
  checked.info.notices = prepare_code(path, checked.module);
  describe(path, extra_files, checked);
  return checked;
}

// Module::to would turn integer buffers (position ids) into floating point too.
void convert_module(const std::string& path, Module& module, const LoadOptions& options) {
  at::NoGradGuard no_grad;
  for_each_node(module, [&](torch::jit::Node& node) { move_constant(node, options); });
  for (const auto& named : module.named_parameters()) {
    const at::Tensor stored = named.value.detach();
    const at::Tensor changed = converted(stored, options);
    if (!is_finite_converted(changed, stored) && !is_mask(stored)) {
      check_finite(changed, stored, fmt::format("{}: the weight '{}'", path, named.name));
    }
    at::Tensor(named.value).set_data(changed);
  }
  for (at::Tensor buffer : module.buffers()) {
    if (buffer.defined()) {
      buffer.set_data(converted(buffer, options));
    }
  }
}

}  // namespace demask
