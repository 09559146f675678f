#include "model/torchscript_model.h"

#include <caffe2/serialize/file_adapter.h>
#include <caffe2/serialize/inline_container.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/csrc/jit/runtime/print_handler.h>
#include <torch/script.h>

#include <algorithm>
#include <array>
#include <exception>
#include <functional>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"
#include "model/recognise_gpt.h"

namespace demask {
namespace {

using torch::jit::IValue;
using torch::jit::Module;

constexpr const char* kUsableForward =
    "forward must take (idx) or (idx, targets), idx int64 [B, T], and return logits [B, T, V] "
    "or a tuple that starts with them";

// The one line of a LibTorch exception that says what went wrong, without C++ and TorchScript backtraces.
std::string reason(const std::exception& exception) {
  const auto* error = dynamic_cast<const c10::Error*>(&exception);
  std::string text = error != nullptr ? error->what_without_backtrace() : exception.what();
  // The interpreter turns every exception into text that ends "...\nRuntimeError: <message>".
  constexpr std::string_view marker = "RuntimeError: ";
  if (const auto start = text.rfind(marker); start != std::string::npos) text.erase(0, start + marker.size());
  return text.substr(0, text.find('\n'));
}

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

// ---- What a module may not do. Loading a model must never run code that its file hides. ----

using Archive = std::shared_ptr<caffe2::serialize::ReadAdapterInterface>;

// LibTorch calls a module's __setstate__ while it loads, and C++ code behind every torch.classes object: both would run
// before the graphs can be inspected, so an archive that mentions either is refused unopened.
void refuse_code_that_runs_on_load(const std::string& path, const Archive& archive) {
  // A flatbuffer module carries this mark at byte 4 and would be loaded without the zip records that are checked here.
  std::array<char, 8> head{};
  if (archive->size() >= head.size()) archive->read(0, head.data(), head.size(), "first bytes");
  if (std::string_view(head.data() + 4, 4) == "PTMF") {
    fail(ExitCode::bad_input, "{}: a flatbuffer module; save it with torch.jit.save", path);
  }
  caffe2::serialize::PyTorchStreamReader reader(archive);
  for (const std::string& record : reader.getAllRecords()) {
    // Tensor storages hold no code, and debug records only quote sources. All else is read, whatever its name:
    // LibTorch finds records regardless of case.
    if (record.rfind("data/", 0) == 0 || record.rfind("constants/", 0) == 0 || ends_with(record, ".debug_pkl"))
      continue;
    const auto [data, size] = reader.getRecord(record);
    const std::string_view text(static_cast<const char*>(data.get()), size);
    for (const char* forbidden : {"__setstate__", "torch.classes"}) {
      if (text.find(forbidden) != std::string_view::npos) {
        fail(ExitCode::bad_input, "{}: refused: '{}' uses {}, which runs code while the file is loaded", path, record,
             forbidden);
      }
    }
  }
}

// Operations of LibTorch's own namespaces that reach outside the module's tensors: to files, other processes, Python.
constexpr std::array<std::string_view, 7> kOutsideOperations = {
    "aten::save",      "aten::from_file", "prim::PythonOp",  "prim::IgnoredPythonOp",
    "prim::rpc_async", "prim::rpc_sync",  "prim::rpc_remote"};

void refuse_outside_operation(const std::string& path, const torch::jit::Node& node) {
  const std::string operation = node.kind().toQualString();
  const bool own_namespace = node.kind().is_aten() || node.kind().is_prim();
  const bool outside =
      std::find(kOutsideOperations.begin(), kOutsideOperations.end(), operation) != kOutsideOperations.end();
  if (!own_namespace || outside) {
    fail(ExitCode::bad_input, "{}: refused: its code calls {}, and a model may only compute on tensors", path,
         operation);
  }
}

// ---- Graphs ----

void for_each_node(torch::jit::Block& block, const std::function<void(torch::jit::Node&)>& visit) {
  for (torch::jit::Node* node : block.nodes()) {
    visit(*node);
    for (torch::jit::Block* inner : node->blocks()) for_each_node(*inner, visit);
  }
}

// Visits the code of every method and function that came with the module, called or not.
void for_each_node(const Module& module, const std::function<void(torch::jit::Node&)>& visit) {
  for (torch::jit::Function* function : module._ivalue()->compilation_unit()->get_functions()) {
    function->ensure_defined();
    if (auto* graph_function = torch::jit::tryToGraphFunction(*function)) {
      for_each_node(*graph_function->graph()->block(), visit);
    }
  }
}

at::Tensor converted(const at::Tensor& tensor, const LoadOptions& options) {
  return tensor.to(options.device, tensor.is_floating_point() ? options.dtype : tensor.scalar_type());
}

// Tracing writes the device it ran on, and the tensors it did not recognise as parameters, into the graph.
void move_constant(torch::jit::Node& node, const LoadOptions& options) {
  if (node.kind() != c10::prim::Constant || !node.hasAttribute(c10::attr::value)) return;
  if (node.output()->type()->kind() == c10::TypeKind::DeviceObjType) {
    node.s_(c10::attr::value, options.device.str());
  } else if (node.kindOf(c10::attr::value) == torch::jit::AttributeKind::t) {
    node.t_(c10::attr::value, converted(node.t(c10::attr::value), options));
  }
}

// Module::to would turn integer buffers (position ids) into floating point too.
void convert_tensors(const Module& module, const LoadOptions& options) {
  at::NoGradGuard no_grad;
  for (at::Tensor parameter : module.parameters()) parameter.set_data(converted(parameter, options));
  for (at::Tensor buffer : module.buffers()) {
    if (buffer.defined()) buffer.set_data(converted(buffer, options));
  }
}

// ---- Extra files ----

nlohmann::json parse_extra_file(const std::string& path, const std::string& name, const std::string& text) {
  if (text.empty()) return nlohmann::json::object();
  auto parsed = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object()) fail(ExitCode::bad_input, "{}: its extra file {} is not a JSON object", path, name);
  return parsed;
}

int64_t size_argument(const std::string& path, const nlohmann::json& args, const char* key) {
  constexpr int64_t largest = 1 << 24;
  const auto found = args.find(key);
  if (found == args.end()) return 0;
  if (!found->is_number_integer() || found->get<int64_t>() < 1 || found->get<int64_t>() > largest) {
    fail(ExitCode::bad_input, "{}: model_args.json has {} = {}, which should be an integer from 1 to {}", path, key,
         found->dump(), largest);
  }
  return found->get<int64_t>();
}

std::string text_argument(const nlohmann::json& args, const char* key, const char* otherwise) {
  const auto found = args.find(key);
  return found != args.end() && found->is_string() ? found->get<std::string>() : otherwise;
}

int64_t rows_of_position_table(const Module& module) {
  for (const auto& parameter : module.named_parameters()) {
    if (ends_with(parameter.name, "wpe.weight") && parameter.value.dim() == 2) return parameter.value.size(0);
  }
  return 0;
}

// Everything that can be known without running the module.
struct Description {
  ModelInfo info;
  int64_t n_head = 0;  // 0 where the file does not say
};

Description describe(const std::string& path, const Module& module, const torch::jit::ExtraFilesMap& extra_files) {
  const auto args = parse_extra_file(path, "model_args.json", extra_files.at("model_args.json"));
  const auto config = parse_extra_file(path, "config.json", extra_files.at("config.json"));
  Description description;
  ModelInfo& info = description.info;
  info.block_size = size_argument(path, args, "block_size");
  if (info.block_size == 0) info.block_size = rows_of_position_table(module);
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
    description.n_head = size_argument(path, args, "n_head");
    info.description = fmt::format(
        "TorchScript, {} layers, {} heads, {} wide, {}, {}", size_argument(path, args, "n_layer"), description.n_head,
        size_argument(path, args, "n_embd"), text_argument(args, "position_encoding", "absolute"), attention);
  }
  return description;
}

// ---- Calling forward ----

enum class Targets { left_out, none, zeros };

struct ForwardForm {
  bool has_targets = false;
  Targets targets = Targets::left_out;
};

ForwardForm form_of_forward(const std::string& path, const Module& module) {
  const auto forward = module.find_method("forward");
  if (!forward) fail(ExitCode::bad_input, "{}: the TorchScript module has no forward; {}", path, kUsableForward);
  const auto& arguments = forward->function().getSchema().arguments();  // the first is self
  const auto unusable = [&]() {
    std::vector<std::string> found;
    for (size_t i = 1; i < arguments.size(); ++i) {
      found.push_back(fmt::format("{}: {}", arguments[i].name(), arguments[i].type()->str()));
    }
    fail(ExitCode::bad_input, "{}: forward takes ({}); {}", path, fmt::join(found, ", "), kUsableForward);
  };
  if (arguments.size() < 2 || arguments[1].type()->kind() != c10::TypeKind::TensorType) unusable();
  for (size_t i = 3; i < arguments.size(); ++i) {
    if (!arguments[i].default_value()) unusable();
  }
  ForwardForm form;
  if (arguments.size() == 2) return form;
  const auto& targets = arguments[2];
  const bool optional = targets.type()->kind() == c10::TypeKind::OptionalType;
  form.has_targets = c10::TensorType::get()->isSubtypeOf(*targets.type());
  if (!targets.default_value()) {
    if (!form.has_targets) unusable();
    form.targets = optional ? Targets::none : Targets::zeros;
  }
  return form;
}

at::Tensor first_tensor(const IValue& output) {
  if (output.isTensor()) return output.toTensor();
  if (output.isTuple() && !output.toTupleRef().elements().empty()) {
    const IValue& first = output.toTupleRef().elements()[0];
    if (first.isTensor()) return first.toTensor();
  }
  if (output.isTensorList() && !output.toTensorList().empty()) return output.toTensorList().get(0);
  throw std::runtime_error(fmt::format("forward returned a {}; {}", output.type()->str(), kUsableForward));
}

// tokens [B, T] -> logits [B, T, V] or [B, 1, V], in the module's dtype.
at::Tensor run_forward(Module& module, Targets targets, bool optimize, const at::Tensor& tokens) {
  at::NoGradGuard no_grad;
  // The optimising executor recompiles for every new shape, which costs more than it gives on an unfrozen module.
  torch::jit::GraphOptimizerEnabledGuard optimizer(optimize);
  std::vector<IValue> inputs{tokens};
  // Zeros are valid class ids whatever the number of classes, where the tokens themselves might not be.
  if (targets == Targets::zeros) inputs.emplace_back(at::zeros_like(tokens));
  if (targets == Targets::none) inputs.emplace_back();
  at::Tensor logits = first_tensor(module.forward(std::move(inputs)));
  const bool shaped = logits.dim() == 3 && logits.size(0) == tokens.size(0) && logits.is_floating_point() &&
                      (logits.size(1) == tokens.size(1) || logits.size(1) == 1);
  if (!shaped) {
    throw std::runtime_error(fmt::format("forward returned {} of shape {} for idx of shape {}; {}",
                                         toString(logits.scalar_type()), c10::str(logits.sizes()),
                                         c10::str(tokens.sizes()), kUsableForward));
  }
  return logits;
}

class TorchScriptModel final : public LanguageModel {
 public:
  TorchScriptModel(std::string path, const Module& module, ModelInfo info, const LoadOptions& options)
      : path_(std::move(path)), module_(module), info_(std::move(info)), options_(options) {
    info_.dtype = options_.dtype;
    const ForwardForm form = form_of_forward(path_, module_);
    targets_ = form.targets;
    probe();
    // nanoGPT's forward gives all positions only to a caller with targets.
    if (!info_.every_position && form.has_targets && targets_ != Targets::zeros) prefer_targets();
    if (info_.binary_classification && info_.output_size != 2) {
      fail(ExitCode::bad_input, "{}: model_args.json says binary_classification, but the module has {} outputs", path_,
           info_.output_size);
    }
    if (options_.compile) freeze();
  }

  const ModelInfo& info() const override { return info_; }
  at::Device device() const override { return options_.device; }

  // LibTorch observes a module for some runs before it compiles what it saw.
  int64_t runs_before_recording() const override { return 3; }

  // Gives [B, 1, V] where !info().every_position.
  at::Tensor logits(const at::Tensor& tokens) override {
    try {
      return run_forward(module_, targets_, optimize_, tokens);
    } catch (const std::exception& exception) {
      const std::string text = exception.what();
      // The interpreter keeps an exception's text but not its type, which callers that retry with less depend on.
      const bool out_of_memory =
          text.find("out of memory") != std::string::npos || text.find("can't allocate memory") != std::string::npos;
      TORCH_CHECK_WITH(OutOfMemoryError, !out_of_memory, reason(exception));
      fail(ExitCode::failed, "{}: the TorchScript module failed on tokens of shape {}: {}", path_,
           c10::str(tokens.sizes()), reason(exception));
    }
  }

 private:
  // Logits of two sequences; two, because a module traced with one may treat the batch as a constant.
  at::Tensor logits_of_zeros(Module& module, Targets targets, int64_t length) const {
    return run_forward(module, targets, optimize_,
                       at::zeros({2, length}, at::device(options_.device).dtype(at::kLong)));
  }

  // Runs the module once, to learn what the archive does not say. A module traced with a fixed length runs at no other.
  void probe() {
    try {
      record(logits_of_zeros(module_, targets_, probe_length_));
    } catch (const std::exception& at_short_length) {
      try {
        TORCH_CHECK(info_.block_size > 0, reason(at_short_length));
        record(logits_of_zeros(module_, targets_, info_.block_size));
        probe_length_ = info_.block_size;
      } catch (const std::exception&) {
        fail(ExitCode::bad_input, "{}: the TorchScript module cannot be used: {}{}", path_, reason(at_short_length),
             options_.dtype == at::kFloat ? "" : "; if its code fixes a number format, --dtype=float32 may help");
      }
    }
  }

  void record(const at::Tensor& logits) {
    info_.output_size = logits.size(2);
    info_.every_position = logits.size(1) > 1 || info_.block_size == 1;
  }

  void prefer_targets() {
    try {
      const at::Tensor logits = logits_of_zeros(module_, Targets::zeros, probe_length_);
      if (logits.size(1) == 1) return;
      targets_ = Targets::zeros;
      record(logits);
    } catch (const std::exception&) {
      // The parameter is for something else: the module stays one that gives the last position.
    }
  }

  // Not every module can be frozen (one that assigns to its attributes, say): such a one runs as it is.
  void freeze() {
    try {
      Module frozen = torch::jit::freeze(module_);
      optimize_ = true;
      logits_of_zeros(frozen, targets_, probe_length_);
      module_ = frozen;
    } catch (const std::exception&) {
      optimize_ = false;
      info_.description += ", cannot be frozen";
    }
  }

  std::string path_;
  Module module_;
  ModelInfo info_;
  LoadOptions options_;
  Targets targets_ = Targets::left_out;
  int64_t probe_length_ = 3;
  bool optimize_ = false;
};

Module load_module(const std::string& path, at::Device device, torch::jit::ExtraFilesMap& extra_files) {
  try {
    // One open file for the check and the load, so that both see the same bytes.
    const Archive archive = std::make_shared<caffe2::serialize::FileAdapter>(path);
    refuse_code_that_runs_on_load(path, archive);
    return torch::jit::load(archive, device, extra_files);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& exception) {
    fail(ExitCode::bad_input, "{}: cannot be loaded as TorchScript: {}", path, reason(exception));
  }
}

// A module that may run, and what its file says of it.
struct CheckedModule {
  Module module;
  Description description;
};

CheckedModule read_module(const std::string& path, at::Device device) {
  torch::jit::ExtraFilesMap extra_files{{"model_args.json", ""}, {"config.json", ""}};
  Module module = load_module(path, device, extra_files);
  for_each_node(module, [&](torch::jit::Node& node) { refuse_outside_operation(path, node); });
  module.eval();
  return {module, describe(path, module, extra_files)};
}

std::unique_ptr<TorchScriptModel> run_as_it_is(const std::string& path, const CheckedModule& checked,
                                               const LoadOptions& options) {
  for_each_node(checked.module, [&](torch::jit::Node& node) { move_constant(node, options); });
  convert_tensors(checked.module, options);
  return std::make_unique<TorchScriptModel>(path, checked.module, checked.description.info, options);
}

// ---- Running a GPT natively ----

std::map<std::string, at::Tensor> parameters_by_name(const Module& module) {
  std::map<std::string, at::Tensor> parameters;
  for (const auto& parameter : module.named_parameters()) parameters.emplace(parameter.name, parameter.value);
  return parameters;
}

// Whether forward's code has no effect but its result, and draws nothing: what it gave once it gives again.
bool is_pure(const Module& module) {
  const auto graph = module.get_method("forward").graph()->copy();
  torch::jit::Inline(*graph);
  bool pure = true;
  for_each_node(*graph->block(), [&](torch::jit::Node& node) {
    const std::string_view operation = node.kind().toQualString();
    // These two draw only where training does; where the code says so itself, two runs differ.
    const bool dropout = operation == "aten::dropout" || operation == "aten::scaled_dot_product_attention";
    const bool effect = operation == "prim::SetAttr" || operation == "prim::Print";
    if (effect || (!dropout && node.isNondeterministic())) pure = false;
  });
  return pure;
}

// Counts the writes to the module's tensors so far, which LibTorch keeps.
int64_t writes_to_tensors(const Module& module) {
  int64_t writes = 0;
  for (const at::Tensor& parameter : module.parameters()) writes += parameter._version();
  for (const at::Tensor& buffer : module.buffers()) {
    if (buffer.defined()) writes += buffer._version();
  }
  return writes;
}

// Null where the module is no GPT. Uses the module up: it is converted to float32 and has run. The proposed parameters
// are its own tensors and are converted with it.
std::unique_ptr<Gpt> run_natively(const std::string& path, const CheckedModule& checked, NanoGptCheckpoint proposed,
                                  const LoadOptions& options) {
  if (!is_pure(checked.module)) return nullptr;
  LoadOptions exact = options;
  exact.dtype = c10::promoteTypes(options.dtype, at::kFloat);
  exact.compile = false;
  exact.device = at::kCPU;
  const auto original = run_as_it_is(path, checked, exact);
  const int64_t writes = writes_to_tensors(checked.module);
  auto gpt = recognise_gpt(std::move(proposed), *original, checked.description.n_head, options.device, options.dtype);
  return writes_to_tensors(checked.module) == writes ? std::move(gpt) : nullptr;
}

}  // namespace

std::unique_ptr<LanguageModel> load_torchscript_model(const std::string& path, const LoadOptions& options) {
  // stdout carries samples only, so a print in a model's code goes to stderr.
  torch::jit::setPrintHandler([](const std::string& text) { std::cerr << text; });
  LoadOptions as_it_is = options;
  as_it_is.dtype = options.module_dtype.value_or(options.dtype);
  if (!options.native) return run_as_it_is(path, read_module(path, options.device), as_it_is);
  CheckedModule checked = read_module(path, at::kCPU);
  if (auto proposed = propose_gpt(parameters_by_name(checked.module), checked.description.info)) {
    try {
      if (auto gpt = run_natively(path, checked, std::move(*proposed), options)) return gpt;
    } catch (const std::exception&) {
      // Whatever it was, out of memory for the comparison too, the module may run as it is, or say what is wrong.
    }
    // Code that has run keeps its constants as they were then, so the file is read once more.
    checked = read_module(path, options.device);
  } else if (!options.device.is_cpu()) {
    checked = read_module(path, options.device);
  }
  return run_as_it_is(path, checked, as_it_is);
}

}  // namespace demask
