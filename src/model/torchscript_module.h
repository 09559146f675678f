// Runs a TorchScript module as it is, and finds out by running it what its file does not say.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <cstdint>
#include <string>
#include <vector>

#include "model/language_model.h"
#include "model/load_model.h"
#include "model/torchscript_file.h"
#include "model/torchscript_forward.h"

namespace demask {

class TorchScriptModule final : public LanguageModel {
 public:
  // What is tried beyond a forward of each form. A module that is only compared with another needs none of it.
  enum class Trials { none, all };

  // Takes a module whose tensors are converted (convert_module). Runs it on a few tokens, to find the form of forward
  // and the shape that it takes, and with Trials::all whether it gives the same twice, whether a text's logits depend
  // on the other texts of its batch, and whether it is causal. Throws Error(bad_input) where none works, or those
  // differ.
  TorchScriptModule(std::string path, const CheckedModule& checked, const LoadOptions& options, Trials trials);

  const ModelInfo& info() const override { return info_; }
  at::Device device() const override { return options_.device; }

  // LibTorch observes a module for some runs before it compiles what it saw.
  int64_t runs_before_recording() const override { return 3; }

  // Gives [B, 1, V] where !info().every_position.
  at::Tensor logits(const at::Tensor& tokens) override;

 private:
  struct Shape {
    int64_t batch, length;
  };

  std::vector<Shape> shapes_to_try() const;
  at::Tensor some_tokens(Shape shape) const;
  at::Tensor run(const at::Tensor& tokens);
  void find_form_and_shape();
  void refuse_unusable(const std::string& first_reason) const;
  void record(const at::Tensor& logits);
  void prefer_targets();
  void run_trials();
  void check_alone(const at::Tensor& tokens, const at::Tensor& logits);
  void learn_direction(const at::Tensor& tokens, const at::Tensor& logits);
  void freeze();

  std::string path_;
  torch::jit::Module module_;
  ModelInfo info_;
  LoadOptions options_;
  ForwardForm form_;
  Shape shape_{2, 3};         // what it ran with first
  int64_t fixed_length_ = 0;  // the only length that it is known to run with, or 0
  int64_t fixed_batch_ = 0;   // the number of texts that it runs with, or 0 where any will do
  bool optimize_ = false;
};

}  // namespace demask
