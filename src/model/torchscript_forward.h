// How a TorchScript module's forward is called: what demask gives for each of its parameters.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/jit/api/module.h>

#include <cstddef>
#include <string>
#include <vector>

namespace demask {

// The first parameter takes the tokens, int64 [B, T]. One that has a default keeps it, and one that may be None gets
// None. What else is a tensor must say by its name what it is for: targets or labels get zeros [B, T], a mask that
// marks the tokens to see gets ones [B, T], positions get 0 to T - 1 in each row, and a noise level or time gets zeros
// [B].
class ForwardForm {
 public:
  // What the first line of an error about an unusable forward ends with.
  static constexpr const char* usable =
      "forward must take (idx) or (idx, targets), idx int64 [B, T], and return logits [B, T, V] or a tuple that starts "
      "with them";

  // Throws Error(bad_input) where the module has no forward, or one with a parameter that demask has nothing for: the
  // message names it, with its type.
  ForwardForm(const std::string& path, const torch::jit::Module& module);

  // The forms to try, likelier ones first: where masks may be numbers or truth values, times numbers or indices.
  std::vector<ForwardForm> variants(at::ScalarType model_dtype) const;

  // What to call forward with for tokens [B, T].
  std::vector<c10::IValue> inputs(const at::Tensor& tokens) const;

  // True where a parameter for targets is left at its default; with_targets() is the form that gives zeros there.
  bool leaves_targets_out() const;
  ForwardForm with_targets() const;

  // What a user should know: a parameter that is given something it may not be meant for.
  std::vector<std::string> notices(const std::string& path) const;

 private:
  enum class Role { tokens, fixed, targets, mask, positions, level };

  struct Parameter {
    std::string name;
    Role role = Role::fixed;
    c10::IValue value;  // fixed
    at::ScalarType dtype = at::kLong;
    bool optional_targets = false;  // fixed now, but targets may be given
    bool constant_level = false;    // fixed: a noise level that takes a number, which is 0
  };

  static Role role_of(const std::string& name);
  static Parameter parameter_of(const std::string& path, const c10::Argument& argument);

  std::vector<Parameter> parameters_;
};

// tokens int64 [B, T] -> logits [B, T, V] or [B, 1, V], in the module's dtype. With `optimize` LibTorch compiles what
// it observes. Throws what LibTorch throws, and std::runtime_error where forward returns something else.
at::Tensor run_forward(torch::jit::Module& module, const ForwardForm& form, bool optimize, const at::Tensor& tokens);

}  // namespace demask
