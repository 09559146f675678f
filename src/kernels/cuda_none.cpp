// Without nvcc: no kernels, so that every caller takes LibTorch's operations.
#include "core/error.h"
#include "kernels/cuda.h"

namespace demask::kernels::cuda {
namespace {

[[noreturn]] void absent() {
  fail(ExitCode::failed, "this build of demask has no CUDA kernels of its own.");
}

}  // namespace

bool built() {
  return false;
}
bool has_kernels_for(const at::Tensor& /*x*/) {
  return false;
}
bool has_kernels_for_widths(const at::Tensor& /*parameter*/, const Widths& /*widths*/) {
  return false;
}
bool can_read(const at::Tensor& /*x*/) {
  return false;
}
bool has_row_products_for(int64_t /*inner*/, const at::Tensor& /*parameter*/) {
  return false;
}
int64_t fast_row_products(const at::Tensor& /*parameter*/) {
  return 0;
}
bool has_products_for(const at::Tensor& /*parameter*/) {
  return false;
}
at::Tensor product(const at::Tensor& /*x*/, const at::Tensor& /*weight*/, const at::Tensor& /*bias*/) {
  absent();
}
bool has_stream_product_for(const at::Tensor& /*weight*/, int64_t /*rows*/) {
  return false;
}
at::Tensor stream_product(const at::Tensor& /*x*/, const at::Tensor& /*weight*/, const at::Tensor& /*bias*/) {
  absent();
}
bool has_window_attention_for(const Heads& /*heads*/, const at::Tensor& /*keys*/, int64_t /*count*/) {
  return false;
}
at::Tensor window_attention(const at::Tensor& /*qkv*/, const Heads& /*heads*/, const at::Tensor& /*keys*/,
                            const at::Tensor& /*values*/, const at::Tensor& /*positions*/) {
  absent();
}
bool has_tile_products_for(const at::Tensor& /*weight*/) {
  return false;
}
bool plain_tile_product_is_faster(const at::Tensor& /*weight*/) {
  return false;
}
bool tile_product_rotates(int64_t /*head_width*/) {
  return false;
}
bool has_judged_product_for(const at::Tensor& /*weight*/) {
  return false;
}
at::Tensor judged_product(const at::Tensor& /*x*/, const at::Tensor& /*weight*/, int64_t /*outputs*/,
                          const at::Tensor& /*tokens*/, const at::Tensor& /*broken*/) {
  absent();
}
at::Tensor tile_product(const at::Tensor& /*x*/, const TileProduct& /*product*/) {
  absent();
}
bool has_adding_tile_products_for(const at::Tensor& /*weight*/) {
  return false;
}
void add_tile_product(const at::Tensor& /*onto*/, const at::Tensor& /*x*/, const TileProduct& /*product*/) {
  absent();
}
bool has_bidirectional_attention_for(const at::Tensor& /*qkv*/, int64_t /*head_width*/) {
  return false;
}
at::Tensor bidirectional_attention(const at::Tensor& /*qkv*/, int64_t /*heads*/, int64_t /*key_heads*/) {
  absent();
}
at::Tensor norm(const at::Tensor& /*x*/, const Norm& /*norm*/) {
  absent();
}
at::Tensor embed_and_norm(const at::Tensor& /*x*/, const at::Tensor& /*tokens*/, const Embedding& /*embedding*/,
                          const Norm& /*norm*/) {
  absent();
}
at::Tensor embed_one_and_norm(const at::Tensor& /*x*/, const at::Tensor& /*text*/, const at::Tensor& /*position*/,
                              const Embedding& /*embedding*/, const Norm& /*norm*/) {
  absent();
}
void embed_one(const at::Tensor& /*x*/, const at::Tensor& /*text*/, const at::Tensor& /*position*/,
               const Embedding& /*embedding*/) {
  absent();
}
at::Tensor add_and_norm(const at::Tensor& /*x*/, const at::Tensor& /*update*/, const at::Tensor& /*bias*/,
                        const Norm& /*norm*/) {
  absent();
}
void prepare_heads(const at::Tensor& /*qkv*/, const Heads& /*heads*/, int64_t /*first_position*/) {
  absent();
}
void bias_and_activation(const at::Tensor& /*x*/, const at::Tensor& /*bias*/, Activation /*activation*/) {
  absent();
}
at::Tensor gate(const at::Tensor& /*x*/, const at::Tensor& /*bias*/, Activation /*activation*/) {
  absent();
}
DecodeWorkspace make_decode_workspace(const at::Tensor& /*keys*/, int64_t /*queries*/) {
  absent();
}
at::Tensor decode_attention(const at::Tensor& /*qkv*/, const Heads& /*heads*/, const at::Tensor& /*keys*/,
                            const at::Tensor& /*values*/, const at::Tensor& /*position*/,
                            const DecodeWorkspace& /*workspace*/) {
  absent();
}
bool decode_layers(const at::Tensor& /*x*/, const std::vector<DecodedLayer>& /*layers*/, const at::Tensor& /*position*/,
                   Activation /*activation*/) {
  return false;
}
at::Tensor row_product(const at::Tensor& /*x*/, const RowProduct& /*product*/) {
  absent();
}
void add_row_product(const at::Tensor& /*onto*/, const at::Tensor& /*x*/, const RowProduct& /*product*/) {
  absent();
}
void draw(const at::Tensor& /*logits*/, const at::Tensor& /*forbidden*/, const at::Tensor& /*uniforms*/,
          const at::Tensor& /*wanted*/, const at::Tensor& /*given*/, const DrawFilters& /*filters*/,
          const at::Tensor& /*tokens*/, const at::Tensor& /*probabilities*/, const at::Tensor& /*broken*/) {
  absent();
}
bool has_next_draw_for(const at::Tensor& /*logits*/) {
  return false;
}
void draw_next(const at::Tensor& /*logits*/, const at::Tensor& /*forbidden*/, const DrawFilters& /*filters*/,
               const NextDraw& /*next*/, const at::Tensor& /*broken*/) {
  absent();
}
void draw_matching(const PatternTensors& /*tensors*/, const PatternDraw& /*draw*/) {
  absent();
}
at::Tensor judge(const at::Tensor& /*logits*/, const at::Tensor& /*tokens*/, int64_t /*column*/, bool /*logarithm*/,
                 const at::Tensor& /*broken*/) {
  absent();
}
void measure(const at::Tensor& /*logits*/, const at::Tensor& /*tokens*/, const at::Tensor& /*log_probability*/,
             const at::Tensor& /*margin*/, const at::Tensor& /*entropy*/, const at::Tensor& /*broken*/) {
  absent();
}
at::Tensor temperatures_by_entropy(const at::Tensor& /*logits*/, const at::Tensor& /*temperature*/,
                                   const at::Tensor& /*whole*/, const EntropyRule& /*rule*/,
                                   const at::Tensor& /*broken*/) {
  absent();
}
at::Tensor highest(const RankedPositions& /*ranked*/) {
  absent();
}
at::Tensor uniform(const NoiseStreams& /*streams*/, const at::Tensor& /*steps*/, int64_t /*positions*/,
                   uint32_t /*purpose*/) {
  absent();
}
StepStart step_start(const StepTables& /*tables*/, const NoiseStreams& /*streams*/, int64_t /*positions*/,
                     int64_t /*purposes*/) {
  absent();
}
void begin_step(const StepTables& /*tables*/, const NoiseStreams& /*streams*/,
                const std::vector<uint32_t>& /*purposes*/, const StepStart& /*start*/, bool /*beside*/) {
  absent();
}
void end_step(const StepState& /*state*/, const at::Tensor& /*drawn*/, const at::Tensor& /*next_masked*/,
              int64_t /*mask*/) {
  absent();
}
bool end_step_by(const StepState& /*state*/, const at::Tensor& /*drawn*/, const RankedPositions& /*next_masked*/,
                 int64_t /*mask*/) {
  absent();
}
at::Tensor blend_doubt(const at::Tensor& /*probability*/, const at::Tensor& /*noise*/, double /*chance*/) {
  absent();
}
Parted spread(const at::Tensor& /*from*/, const at::Tensor& /*share*/, const at::Tensor& /*offset*/) {
  absent();
}
at::Tensor less_excess(const at::Tensor& /*logits*/, const at::Tensor& /*tokens*/, const at::Tensor& /*masked*/,
                       const at::Tensor& /*prior*/, const ExcessRule& /*rule*/) {
  absent();
}
at::Tensor doubt(const DoubtTerms& /*terms*/, const DoubtRule& /*rule*/) {
  absent();
}
bool has_reveal_kernel_for(const at::Tensor& /*certainty*/) {
  return false;
}
at::Tensor reveal(const at::Tensor& /*certainty*/, const at::Tensor& /*drawn*/, const at::Tensor& /*steps_left*/,
                  const RevealRule& /*rule*/) {
  absent();
}
at::Tensor stable_probability(const at::Tensor& /*logits*/, const at::Tensor& /*tokens*/,
                              const Stability& /*stability*/, const at::Tensor& /*previous*/,
                              const at::Tensor& /*steady*/, const at::Tensor& /*broken*/) {
  absent();
}
void trace(const at::Tensor& /*slot*/, const at::Tensor& /*logits*/, const at::Tensor& /*tokens*/,
           const at::Tensor& /*masked*/, const at::Tensor& /*forbidden*/, const TraceTables& /*tables*/) {
  absent();
}
}  // namespace demask::kernels::cuda
