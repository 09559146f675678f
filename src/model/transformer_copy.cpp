// A transformer on another device.
#include <ATen/ATen.h>

#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>

#include "model/device.h"
#include "model/transformer.h"

namespace demask {
namespace {

// Brings tensors to a device. Those that are one, as a tied head's weight is the token embedding, stay one.
class Mover {
 public:
  explicit Mover(at::Device device) : device_(device) {}

  void operator()(at::Tensor& tensor) {
    if (tensor.defined()) {
      const auto [place, is_new] = moved_.try_emplace(tensor.unsafeGetTensorImpl());
      if (is_new) {
        place->second = {tensor, tensor.to(device_)};
      }
      tensor = place->second.there;
    }
  }
  void operator()(LinearWeights& linear) {
    (*this)(linear.weight);
    (*this)(linear.bias);
  }
  void operator()(NormWeights& norm) {
    (*this)(norm.weight);
    (*this)(norm.bias);
  }
  void operator()(TransformerWeights& weights) {
    (*this)(weights.token_embedding);
    (*this)(weights.position_embedding);
    for (LayerWeights& layer : weights.layers) {
      for (NormWeights* norm : {&layer.attention_norm, &layer.query_norm, &layer.key_norm, &layer.feed_forward_norm}) {
        (*this)(*norm);
      }
      for (LinearWeights* linear :
           {&layer.query_key_value, &layer.attention_projection, &layer.expand, &layer.contract}) {
        (*this)(*linear);
      }
    }
    (*this)(weights.final_norm);
    (*this)(weights.head);
  }

 private:
  struct Moved {
    at::Tensor here, there;  // the former so that its address stays its own
  };
  at::Device device_;
  std::map<const void*, Moved> moved_;
};

}  // namespace

Transformer::Transformer(const Transformer& other, at::Device device)
    : weights_(other.weights_),
      info_(other.info_),
      device_(device),
      cosine_(other.cosine_),
      sine_(other.sine_),
      angles_(other.angles_),
      head_(other.head_),
      fused_(other.fused_),
      row_products_(other.row_products_),
      judges_(other.judges_),
      batch_invariant_(other.batch_invariant_) {
  const std::lock_guard<std::shared_mutex> alone(recordings());
  Mover move(device);
  move(weights_);
  move(cosine_);
  move(sine_);
  move(angles_);
  move(head_);
  synchronize(device);
}

std::unique_ptr<LanguageModel> Transformer::copy_to(at::Device device) const {
  if (on_cpu_ || device.type() != device_.type()) {
    return nullptr;
  }
  return std::unique_ptr<Transformer>(new Transformer(*this, device));
}

}  // namespace demask
