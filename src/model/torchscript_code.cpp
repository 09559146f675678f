#include "model/torchscript_code.h"

#include <caffe2/serialize/inline_container.h>
#include <caffe2/serialize/read_adapter_interface.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/passes/constant_propagation.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/passes/inliner.h>

#include <array>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "core/text.h"
#include "model/torchscript_operations.h"

namespace demask {
namespace {

using torch::jit::Block;
using torch::jit::Graph;
using torch::jit::Module;
using torch::jit::Node;
using torch::jit::Value;

void for_each_node(Block& block, const std::function<void(Node&)>& visit) {
  for (Node* node : block.nodes()) {
    visit(*node);
    for (Block* inner : node->blocks()) {
      for_each_node(*inner, visit);
    }
  }
}

std::string_view name_of(const Node& node) {
  return node.kind().toQualString();
}

void refuse_other_operation(const std::string& path, const Node& node) {
  if (kind_of_operation(name_of(node)) == OperationKind::other) {
    fail(ExitCode::bad_input, "{}: refused: its code calls {}, and a model may only compute on tensors", path,
         name_of(node));
  }
}

// Returns whether there was a print. Ordinary modules hold warnings, in the code of torch.nn.functional.
bool take_out_reports(const Module& module) {
  std::vector<Node*> reports;
  bool prints = false;
  demask::for_each_node(module, [&](Node& node) {
    if (kind_of_operation(name_of(node)) == OperationKind::reports) {
      reports.push_back(&node);
      prints = prints || node.kind() == c10::prim::Print;
    }
  });
  for (Node* node : reports) {
    node->destroy();
  }
  return prints;
}

// --- training mode ---

std::optional<size_t> find_argument(const Node& node, std::string_view name) {
  const c10::FunctionSchema* schema = node.maybeSchema();
  if (schema == nullptr) {
    return std::nullopt;
  }
  const auto index = schema->argumentIndexWithName(std::string(name));
  const bool given = index && static_cast<size_t>(*index) < node.inputs().size();
  return given ? std::optional<size_t>(static_cast<size_t>(*index)) : std::nullopt;
}

bool is_none(const Value& value) {
  return value.mustBeNone() || value.type()->kind() == c10::TypeKind::NoneType;
}

bool is_constant(const Value& value, double number) {
  const auto constant = torch::jit::toIValue(&value);
  if (!constant) {
    return false;
  }
  return (constant->isBool() && constant->toBool() == (number != 0)) ||
         (constant->isDouble() && constant->toDouble() == number) ||
         (constant->isInt() && static_cast<double>(constant->toInt()) == number);
}

// The input that makes an operation train, and what it takes so that the operation does not.
struct TrainingInput {
  size_t index = 0;
  c10::IValue off;
};

std::optional<TrainingInput> training_input(const Node& node) {
  if (!node.kind().is_aten()) {
    return std::nullopt;
  }
  for (const char* name : {"train", "training"}) {
    if (const auto index = find_argument(node, name)) {
      return TrainingInput{*index, false};
    }
  }
  if (const auto index = find_argument(node, "dropout_p")) {
    return TrainingInput{*index, 0.0};
  }
  // Without running statistics instance_norm takes the input's own by design, and depends on no other text.
  const auto own_statistics = find_argument(node, "use_input_stats"), mean = find_argument(node, "running_mean");
  if (own_statistics && mean && is_constant(*node.input(*own_statistics), 1) && !is_none(*node.input(*mean))) {
    return TrainingInput{*own_statistics, false};
  }
  return std::nullopt;
}

void switch_training_off(const Module& module) {
  demask::for_each_node(module, [](Node& node) {
    if (const auto training = training_input(node)) {
      const torch::jit::WithInsertPoint before(&node);
      node.replaceInput(training->index, node.owningGraph()->insertConstant(training->off));
    }
  });
}

// A copy of forward with all that it calls in its place, without the branches that only training takes.
std::shared_ptr<Graph> forward_in_evaluation(const Module& module) {
  std::shared_ptr<Graph> graph = module.get_method("forward").graph()->copy();
  torch::jit::Inline(*graph);
  std::vector<Node*> flags;
  for_each_node(*graph->block(), [&](Node& node) {
    if (node.kind() == c10::prim::GetAttr && node.s(c10::attr::name) == "training" &&
        node.output()->type()->kind() == c10::TypeKind::BoolType) {
      flags.push_back(&node);
    }
  });
  // Inlining makes LibTorch keep a second copy of each function's code, from which it would run what is changed later.
  for (torch::jit::Function* function : module._ivalue()->compilation_unit()->get_functions()) {
    if (auto* graph_function = torch::jit::tryToGraphFunction(*function)) {
      graph_function->clear_optimized_graphs();
    }
  }
  for (Node* flag : flags) {
    const torch::jit::WithInsertPoint before(flag);
    flag->output()->replaceAllUsesWith(graph->insertConstant(false));
  }
  torch::jit::ConstantPropagation(graph);
  torch::jit::EliminateDeadCode(graph);
  return graph;
}

// Names of what forward leaves in training mode whatever module.eval() says.
std::set<std::string> left_in_training(Graph& forward) {
  std::set<std::string> names;
  for_each_node(*forward.block(), [&](Node& node) {
    const auto training = training_input(node);
    if (!training || is_constant(*node.input(training->index), 0)) {
      return;
    }
    const auto probability = find_argument(node, "p");
    if (!probability || !is_constant(*node.input(*probability), 0)) {
      names.emplace(name_of(node));
    }
  });
  return names;
}

void refuse_random_numbers(const std::string& path, const Module& module, Graph& forward) {
  bool calls = false;
  const auto visit = [&](Node& node) {
    const bool draws = kind_of_operation(name_of(node)) == OperationKind::draws ||
                       (node.isNondeterministic() && !training_input(node));
    if (draws) {
      fail(ExitCode::bad_input,
           "{}: refused: its forward draws random numbers ({}). What a model gives must depend on its tokens alone: "
           "export it without",
           path, name_of(node));
    }
    calls = calls || node.kind() == c10::prim::CallMethod || node.kind() == c10::prim::CallFunction;
  };
  for_each_node(*forward.block(), visit);
  if (calls) {  // through an interface: it may be any method
    demask::for_each_node(module, visit);
  }
}

}  // namespace

void refuse_code_that_runs_on_load(const std::string& path, const ModuleFile& file) {
  // A flatbuffer module carries this mark at byte 4 and would be loaded without the zip records that are checked here.
  std::array<char, 8> head{};
  if (file->size() >= head.size()) {
    file->read(0, head.data(), head.size(), "first bytes");
  }
  if (std::string_view(head.data() + 4, 4) == "PTMF") {
    fail(ExitCode::bad_input, "{}: a flatbuffer module; save it with torch.jit.save", path);
  }
  caffe2::serialize::PyTorchStreamReader reader(file);
  for (const std::string& record : reader.getAllRecords()) {
    // Tensor storages hold no code, and debug records only quote sources. All else is read, whatever its name:
    // LibTorch finds records regardless of case.
    if (starts_with(record, "data/") || starts_with(record, "constants/") || ends_with(record, ".debug_pkl")) {
      continue;
    }
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

void for_each_node(const Module& module, const std::function<void(Node&)>& visit) {
  for (torch::jit::Function* function : module._ivalue()->compilation_unit()->get_functions()) {
    function->ensure_defined();
    if (auto* graph_function = torch::jit::tryToGraphFunction(*function)) {
      for_each_node(*graph_function->graph()->block(), visit);
    }
  }
}

std::vector<std::string> prepare_code(const std::string& path, Module& module) {
  for_each_node(module, [&](Node& node) { refuse_other_operation(path, node); });
  std::vector<std::string> notices;
  if (take_out_reports(module)) {
    notices.push_back(fmt::format("the code of '{}' prints; that is left out.", path));
  }
  module.eval();
  if (!module.find_method("forward")) {
    return notices;
  }
  const std::shared_ptr<Graph> forward = forward_in_evaluation(module);
  if (const std::set<std::string> names = left_in_training(*forward); !names.empty()) {
    notices.push_back(
        fmt::format("'{}' was exported in training mode: {} is turned off, or runs as in evaluation. Call eval() "
                    "before the export.",
                    path, fmt::join(names, ", ")));
  }
  switch_training_off(module);
  refuse_random_numbers(path, module, *forward);
  return notices;
}

bool writes_attributes(const Module& module) {
  const std::shared_ptr<Graph> graph = module.get_method("forward").graph()->copy();
  torch::jit::Inline(*graph);
  bool writes = false;
  for_each_node(*graph->block(), [&](Node& node) { writes = writes || node.kind() == c10::prim::SetAttr; });
  return writes;
}

}  // namespace demask
