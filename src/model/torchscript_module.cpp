#include "model/torchscript_module.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/csrc/jit/api/module.h>

#include <algorithm>
#include <exception>
#include <optional>
#include <utility>

#include "checkpoint/stored_tensors.h"
#include "core/error.h"

namespace demask {
namespace {

constexpr int64_t short_length = 3;
constexpr int64_t trial_length = 16;  // long enough to tell a causal module from one that looks some tokens ahead

constexpr const char* why_shapes_are_fixed =
    "A trace holds for the shape of its example only, where its code fixes that: export the module with "
    "torch.jit.script, or ask for the length that it was traced with";

// The largest difference between logits, in units of the standard deviation of the first; equal infinities and NaN do
// not differ.
double difference(const at::Tensor& left, const at::Tensor& right) {
  const at::Tensor same = (left == right).logical_or(left.isnan().logical_and(right.isnan()));
  const at::Tensor apart = at::where(same, at::zeros_like(left), (left - right).abs());
  const double scale = left.nan_to_num(0, 0, 0).std(/*unbiased=*/false).item<double>();
  const auto largest = apart.max().item<double>();
  return largest == 0 ? 0 : largest / scale;
}

bool is_half(at::ScalarType dtype) {
  return dtype == at::kHalf || dtype == at::kBFloat16;
}

}  // namespace

TorchScriptModule::TorchScriptModule(std::string path, const CheckedModule& checked, const LoadOptions& options,
                                     Trials trials)
    : path_(std::move(path)), module_(checked.module), info_(checked.info), options_(options), form_(path_, module_) {
  info_.dtype = element_type(options_.dtype);
  find_form_and_shape();
  // nanoGPT's forward gives all positions only to a caller with targets.
  if (!info_.every_position && form_.leaves_targets_out()) {
    prefer_targets();
  }
  if (info_.binary_classification && info_.output_size != 2) {
    fail(ExitCode::bad_input, "{}: model_args.json says binary_classification, but the module has {} outputs", path_,
         info_.output_size);
  }
  if (trials == Trials::all) {
    run_trials();
  }
  if (fixed_batch_ > 0) {
    info_.notices.push_back(
        fmt::format("'{}' runs with {} at a time, as it was traced; torch.jit.script would make it "
                    "faster.",
                    path_, fixed_batch_ == 1 ? "one text" : fmt::format("{} texts", fixed_batch_)));
  }
  const std::vector<std::string> notices = form_.notices(path_);
  info_.notices.insert(info_.notices.end(), notices.begin(), notices.end());
  if (options_.compile) {
    freeze();
  }
}

at::Tensor TorchScriptModule::logits(const at::Tensor& tokens) {
  if (fixed_length_ > 0 && tokens.size(1) != fixed_length_) {
    fail(ExitCode::bad_input, "{}: the TorchScript module runs with {} tokens at a time, not with {}. {}.", path_,
         fixed_length_, tokens.size(1), why_shapes_are_fixed);
  }
  try {
    return run(tokens);
  } catch (const std::exception& exception) {
    const std::string text = exception.what();
    // The interpreter keeps an exception's text but not its type, which callers that retry with less depend on.
    const bool out_of_memory =
        text.find("out of memory") != std::string::npos || text.find("can't allocate memory") != std::string::npos;
    TORCH_CHECK_WITH(OutOfMemoryError, !out_of_memory, reason_of(exception));
    fail(ExitCode::failed,
         "{}: the TorchScript module failed on tokens of shape {}: {}. When it was loaded it ran on [{}, {}].", path_,
         c10::str(tokens.sizes()), reason_of(exception), shape_.batch, shape_.length);
  }
}

// In batches of fixed_batch_, the last one filled up with copies of its last text.
at::Tensor TorchScriptModule::run(const at::Tensor& tokens) {
  const int64_t texts = tokens.size(0);
  if (fixed_batch_ == 0 || texts == fixed_batch_) {
    return run_forward(module_, form_, optimize_, tokens);
  }
  std::vector<at::Tensor> parts;
  for (int64_t start = 0; start < texts; start += fixed_batch_) {
    const int64_t count = std::min(fixed_batch_, texts - start);
    at::Tensor part = tokens.narrow(0, start, count);
    if (count < fixed_batch_) {
      part = at::cat({part, part.narrow(0, count - 1, 1).expand({fixed_batch_ - count, -1})});
    }
    parts.push_back(run_forward(module_, form_, optimize_, part.contiguous()).narrow(0, 0, count));
  }
  return at::cat(parts);
}

// Two texts, because a module traced with one may take the batch for a constant; else one, as most traces do.
std::vector<TorchScriptModule::Shape> TorchScriptModule::shapes_to_try() const {
  std::vector<int64_t> lengths{info_.block_size > 0 ? std::min(short_length, info_.block_size) : short_length};
  for (const int64_t length : {info_.block_size, options_.length}) {
    const bool allowed = length > 0 && (info_.block_size == 0 || length <= info_.block_size);
    if (allowed && std::find(lengths.begin(), lengths.end(), length) == lengths.end()) {
      lengths.push_back(length);
    }
  }
  std::vector<Shape> shapes;
  for (const int64_t length : lengths) {
    shapes.push_back({2, length});
    shapes.push_back({1, length});
  }
  return shapes;
}

// Ids that any vocabulary has; zeros before it is known how many that are.
at::Tensor TorchScriptModule::some_tokens(Shape shape) const {
  constexpr int64_t most_ids = 16;
  const int64_t ids = std::clamp<int64_t>(info_.output_size, 1, most_ids);
  return at::arange(shape.batch * shape.length, at::device(options_.device).dtype(at::kLong))
      .mul(7)
      .remainder(ids)
      .view({shape.batch, shape.length});
}

void TorchScriptModule::find_form_and_shape() {
  const std::vector<ForwardForm> forms = form_.variants(options_.dtype);
  std::optional<std::string> first_reason;
  const std::vector<Shape> shapes = shapes_to_try();
  for (const Shape shape : shapes) {
    for (const ForwardForm& form : forms) {
      try {
        record(run_forward(module_, form, optimize_, some_tokens(shape)));
      } catch (const std::exception& exception) {
        first_reason = first_reason.value_or(reason_of(exception));
        continue;
      }
      form_ = form;
      shape_ = shape;
      fixed_batch_ = shape.batch == 1 ? 1 : 0;
      fixed_length_ = shape.length == shapes.front().length ? 0 : shape.length;
      if (fixed_length_ > 0 && info_.block_size == 0) {
        info_.block_size = fixed_length_;
      }
      return;
    }
  }
  refuse_unusable(*first_reason);
}

void TorchScriptModule::refuse_unusable(const std::string& first_reason) const {
  std::string more;
  if (first_reason.find(ForwardForm::usable) == std::string::npos) {
    std::vector<std::string> tried;
    for (const Shape shape : shapes_to_try()) {
      tried.push_back(fmt::format("[{}, {}]", shape.batch, shape.length));
    }
    more = fmt::format("; tried on tokens of shapes {}. {}", fmt::join(tried, ", "), why_shapes_are_fixed);
  }
  fail(ExitCode::bad_input, "{}: the TorchScript module cannot be used: {}{}{}", path_, first_reason, more,
       options_.dtype == at::kFloat ? "" : "; if its code fixes a number format, --dtype=float32 may help");
}

void TorchScriptModule::record(const at::Tensor& logits) {
  info_.output_size = logits.size(2);
  info_.every_position = logits.size(1) > 1 || info_.block_size == 1;
}

void TorchScriptModule::prefer_targets() {
  const ForwardForm without = std::exchange(form_, form_.with_targets());
  try {
    const at::Tensor logits = run(some_tokens(shape_));
    if (logits.size(1) > 1) {
      record(logits);
      return;
    }
  } catch (const std::exception&) {
    // The parameter is for something else: the module stays one that gives the last position.
  }
  form_ = without;
}

void TorchScriptModule::run_trials() {
  Shape shape = shape_;
  if (fixed_length_ == 0 && info_.block_size > 0) {
    shape.length = std::min(trial_length, info_.block_size);
  } else if (fixed_length_ == 0 && options_.device.is_cpu()) {
    shape.length = trial_length;  // a position too many is an error to catch here, and the end of the process on CUDA
  }
  at::Tensor tokens = some_tokens(shape);
  at::Tensor logits;
  try {
    logits = run(tokens).to(at::kFloat);
  } catch (const std::exception&) {  // it may take no text so long
    tokens = some_tokens(shape_);
    logits = run(tokens).to(at::kFloat);
  }
  // Rounding may differ from run to run on a GPU; what dropout does is as large as the logits.
  const double tolerance = is_half(options_.dtype) ? 0.2 : 1e-3;
  if (difference(logits, run(tokens).to(at::kFloat)) > tolerance) {
    fail(ExitCode::bad_input,
         "{}: refused: its forward gives other logits for the same tokens when it runs again. It draws random numbers "
         "or keeps something from run to run; what a model gives must depend on its tokens alone.",
         path_);
  }
  if (tokens.size(0) > 1) {
    check_alone(tokens, logits);
  }
  learn_direction(tokens, logits);
}

// A text must get the same logits whatever else is in its batch.
void TorchScriptModule::check_alone(const at::Tensor& tokens, const at::Tensor& logits) {
  at::Tensor alone;
  try {
    alone = run(tokens.narrow(0, 0, 1)).to(at::kFloat);
  } catch (const std::exception&) {
    fixed_batch_ = tokens.size(0);
    return;
  }
  const double tolerance = is_half(options_.dtype) ? 0.2 : 1e-3;
  if (difference(logits.narrow(0, 0, 1), alone) > tolerance) {
    fail(ExitCode::bad_input,
         "{}: refused: its forward gives a text other logits alone than beside others (normalisation over the batch, "
         "for example), so that texts would depend on the batch size.",
         path_);
  }
}

// Changes the last token of each text: a causal module gives the same before it.
void TorchScriptModule::learn_direction(const at::Tensor& tokens, const at::Tensor& logits) {
  const int64_t length = tokens.size(1), ids = tokens.max().item<int64_t>() + 1;
  if (!info_.every_position || length < 2 || ids < 2) {
    return;
  }
  at::Tensor changed = tokens.clone();
  changed.select(1, length - 1).add_(1).remainder_(ids);
  at::Tensor other;
  try {
    other = run(changed).to(at::kFloat);
  } catch (const std::exception&) {
    return;
  }
  const double tolerance = is_half(options_.dtype) ? 1e-3 : 1e-5;
  if (logits.isnan().any().item<bool>() || difference(logits, other) <= tolerance) {
    return;  // it tells nothing
  }
  const int64_t before = length - 1;
  info_.causal = difference(logits.narrow(1, 0, before), other.narrow(1, 0, before)) <= tolerance;
  info_.bidirectional = !info_.causal;
}

// Not every module can be frozen (one that assigns to its attributes, say): such a one runs as it is.
void TorchScriptModule::freeze() {
  const torch::jit::Module whole = module_;
  try {
    module_ = torch::jit::freeze(module_);
    optimize_ = true;
    run(some_tokens(shape_));
  } catch (const std::exception&) {
    module_ = whole;
    optimize_ = false;
    info_.description += ", cannot be frozen";
  }
}

}  // namespace demask
