// Models whose logits are a table's, for scores that a test works out again.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "model/language_model.h"

namespace demask::testing {

// What every position says depends on what stands where in the text: the sum of random rows, one for each position seen
// and its token. Causal: of those up to the position only.
class TableModel : public LanguageModel {
 public:
  TableModel(int64_t length, int64_t vocabulary, bool causal, int64_t block = 0) {
    at::manual_seed(5);
    table_ = at::randn({length, length, vocabulary, vocabulary}) * 1.5;  // by place, place seen, token seen, token
    if (causal) {
      table_ *= at::ones({length, length}).tril().view({length, length, 1, 1});
    }
    info_.output_size = vocabulary;
    info_.block_size = block;
    info_.causal = causal;
    info_.bidirectional = !causal;
  }
  const ModelInfo& info() const override { return info_; }
  at::Device device() const override { return at::kCPU; }
  at::Tensor logits(const at::Tensor& tokens) override {
    rows_seen = std::max(rows_seen, tokens.size(0));
    std::vector<at::Tensor> rows;
    for (int64_t row = 0; row < tokens.size(0); ++row) {
      rows.push_back(row_logits(tokens[row]));
    }
    return at::stack(rows);
  }

  int64_t rows_seen = 0;

 private:
  at::Tensor row_logits(const at::Tensor& tokens) const {  // [T] -> [T, V]
    const int64_t length = tokens.size(0);
    at::Tensor sum = at::zeros({length, info_.output_size});
    for (int64_t seen = 0; seen < length; ++seen) {
      sum += table_.narrow(0, 0, length).select(1, seen).select(1, tokens[seen].item<int64_t>());
    }
    return sum;
  }

  at::Tensor table_;
  ModelInfo info_;
};

// Tells how likely tokens are, and no logits.
class JudgingModel : public TableModel {
 public:
  using TableModel::TableModel;
  bool judges_tokens() const override { return true; }
  at::Tensor log_probability_at(const at::Tensor& tokens, const at::Tensor& positions, const at::Tensor& ids,
                                const at::Tensor& /*broken*/) override {
    const at::Tensor all = at::log_softmax(LanguageModel::logits_at(tokens, positions), -1);
    return all.gather(2, ids.unsqueeze(2)).squeeze(2);
  }
  at::Tensor logits_at(const at::Tensor& tokens, const at::Tensor& positions) override {
    ++logits_made;
    return LanguageModel::logits_at(tokens, positions);
  }

  int64_t logits_made = 0;
};

}  // namespace demask::testing
