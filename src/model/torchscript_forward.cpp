#include "model/torchscript_forward.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/csrc/jit/runtime/graph_executor.h>

#include <algorithm>
#include <cctype>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "core/error.h"

namespace demask {
namespace {

bool takes_tensor(const c10::Type& type) {
  return c10::TensorType::get()->isSubtypeOf(type);
}

// In lower case, without the number that TorchScript may have put behind it: "targets.1" is targets.
std::string plain_name(std::string name) {
  name.erase(std::min(name.find('.'), name.size()));
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  return name;
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string described(const c10::Argument& argument) {
  return fmt::format("{}: {}", argument.name(), argument.type()->str());
}

at::Tensor first_tensor(const c10::IValue& output) {
  if (output.isTensor()) {
    return output.toTensor();
  }
  if (output.isTuple() && !output.toTupleRef().elements().empty()) {
    const c10::IValue& first = output.toTupleRef().elements()[0];
    if (first.isTensor()) {
      return first.toTensor();
    }
  }
  if (output.isTensorList() && !output.toTensorList().empty()) {
    return output.toTensorList().get(0);
  }
  throw std::runtime_error(fmt::format("forward returned a {}; {}", output.type()->str(), ForwardForm::usable));
}

}  // namespace

// A mask of padding marks the tokens not to see in some libraries and those to see in others, so none is known by name.
ForwardForm::Role ForwardForm::role_of(const std::string& name) {
  const std::string plain = plain_name(name);
  if (contains(plain, "target") || contains(plain, "label") || plain == "y") {
    return Role::targets;
  }
  if (is_one_of(plain, {"mask", "attention_mask", "attn_mask", "input_mask", "token_mask", "att_mask"})) {
    return Role::mask;
  }
  if (contains(plain, "position") || is_one_of(plain, {"pos", "pos_ids"})) {
    return Role::positions;
  }
  if (contains(plain, "sigma") || contains(plain, "timestep") || contains(plain, "noise") ||
      is_one_of(plain, {"t", "time", "times", "time_step"})) {
    return Role::level;
  }
  return Role::fixed;
}

ForwardForm::Parameter ForwardForm::parameter_of(const std::string& path, const c10::Argument& argument) {
  Parameter parameter;
  parameter.name = argument.name();
  const Role role = role_of(argument.name());
  const c10::Type& type = *argument.type();
  if (argument.default_value()) {
    parameter.value = *argument.default_value();
    parameter.optional_targets = role == Role::targets && takes_tensor(type);
  } else if (type.kind() == c10::TypeKind::OptionalType) {
    parameter.optional_targets = role == Role::targets && takes_tensor(type);  // the value is None
  } else if (type.kind() == c10::TypeKind::TensorType && role != Role::fixed) {
    parameter.role = role;
  } else if (role == Role::level && type.kind() == c10::TypeKind::FloatType) {
    parameter.value = 0.0;
    parameter.constant_level = true;
  } else if (role == Role::level && type.kind() == c10::TypeKind::IntType) {
    parameter.value = int64_t{0};
    parameter.constant_level = true;
  } else {
    fail(ExitCode::bad_input,
         "{}: forward needs '{}', and demask does not know what to give it: {}. Give it a default, or name it for "
         "what it is (targets, attention_mask, position_ids, timesteps); trace with the tokens alone",
         path, described(argument), usable);
  }
  return parameter;
}

ForwardForm::ForwardForm(const std::string& path, const torch::jit::Module& module) {
  const auto forward = module.find_method("forward");
  if (!forward) {
    fail(ExitCode::bad_input, "{}: the TorchScript module has no forward; {}", path, usable);
  }
  const auto& arguments = forward->function().getSchema().arguments();  // the first is self
  if (arguments.size() < 2 || arguments[1].type()->kind() != c10::TypeKind::TensorType) {
    std::vector<std::string> found;
    for (size_t i = 1; i < arguments.size(); ++i) {
      found.push_back(described(arguments[i]));
    }
    fail(ExitCode::bad_input, "{}: forward takes ({}); {}", path, fmt::join(found, ", "), usable);
  }
  Parameter tokens;
  tokens.name = arguments[1].name();
  tokens.role = Role::tokens;
  parameters_.push_back(tokens);
  for (size_t i = 2; i < arguments.size(); ++i) {
    parameters_.push_back(parameter_of(path, arguments[i]));
  }
}

std::vector<ForwardForm> ForwardForm::variants(at::ScalarType model_dtype) const {
  std::vector<ForwardForm> forms{*this};
  const auto vary = [&](Role role, const std::vector<at::ScalarType>& dtypes) {
    if (std::none_of(parameters_.begin(), parameters_.end(), [&](const Parameter& p) { return p.role == role; })) {
      return;
    }
    std::vector<ForwardForm> varied;
    for (const at::ScalarType dtype : dtypes) {
      for (ForwardForm form : forms) {
        for (Parameter& parameter : form.parameters_) {
          parameter.dtype = parameter.role == role ? dtype : parameter.dtype;
        }
        varied.push_back(std::move(form));
      }
    }
    forms = std::move(varied);
  };
  vary(Role::mask, {at::kLong, at::kBool, model_dtype});
  vary(Role::level, {model_dtype, at::kLong});
  return forms;
}

std::vector<c10::IValue> ForwardForm::inputs(const at::Tensor& tokens) const {
  std::vector<c10::IValue> inputs;
  for (const Parameter& parameter : parameters_) {
    const auto options = tokens.options().dtype(parameter.dtype);
    switch (parameter.role) {
      case Role::tokens:
        inputs.emplace_back(tokens);
        break;
      case Role::fixed:
        inputs.push_back(parameter.value);
        break;
      case Role::targets:
        // Zeros are valid class ids whatever the number of classes, where the tokens themselves might not be.
        inputs.emplace_back(at::zeros_like(tokens));
        break;
      case Role::mask:
        inputs.emplace_back(at::ones(tokens.sizes(), options));
        break;
      case Role::positions:
        inputs.emplace_back(at::arange(tokens.size(1), options).expand_as(tokens).contiguous());
        break;
      case Role::level:
        inputs.emplace_back(at::zeros({tokens.size(0)}, options));
        break;
    }
  }
  return inputs;
}

bool ForwardForm::leaves_targets_out() const {
  return std::any_of(parameters_.begin(), parameters_.end(), [](const Parameter& p) { return p.optional_targets; });
}

ForwardForm ForwardForm::with_targets() const {
  ForwardForm form = *this;
  for (Parameter& parameter : form.parameters_) {
    parameter.role = parameter.optional_targets ? Role::targets : parameter.role;
    parameter.optional_targets = false;
  }
  return form;
}

std::vector<std::string> ForwardForm::notices(const std::string& path) const {
  std::vector<std::string> notices;
  for (const Parameter& parameter : parameters_) {
    if (parameter.role == Role::level || parameter.constant_level) {
      notices.push_back(
          fmt::format("forward of '{}' takes '{}', by its name a noise level or time: demask gives it 0 at every step.",
                      path, parameter.name));
    } else if (parameter.role == Role::mask && plain_name(parameter.name) != "attention_mask") {
      notices.push_back(fmt::format("forward of '{}' takes '{}': demask gives it ones, for every token is to be seen.",
                                    path, parameter.name));
    }
  }
  return notices;
}

at::Tensor run_forward(torch::jit::Module& module, const ForwardForm& form, bool optimize, const at::Tensor& tokens) {
  at::NoGradGuard no_grad;
  // The optimising executor recompiles for every new shape, which costs more than it gives on an unfrozen module.
  torch::jit::GraphOptimizerEnabledGuard optimizer(optimize);
  at::Tensor logits = first_tensor(module.forward(form.inputs(tokens)));
  const bool shaped = logits.dim() == 3 && logits.size(0) == tokens.size(0) && logits.is_floating_point() &&
                      (logits.size(1) == tokens.size(1) || logits.size(1) == 1);
  if (!shaped) {
    throw std::runtime_error(fmt::format("forward returned {} of shape {} for idx of shape {}; {}",
                                         toString(logits.scalar_type()), c10::str(logits.sizes()),
                                         c10::str(tokens.sizes()), ForwardForm::usable));
  }
  return logits;
}

}  // namespace demask
