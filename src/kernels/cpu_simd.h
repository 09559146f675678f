// The CPU kernels, written once for every instruction set: included by one file an instruction set, which is compiled
// for it and defines `Lanes` (a vector of floats), `Element` and `Tile` before. Everything has internal linkage.
//
// Products keep a tile of rows x 2 vectors in registers and read packed weights in order (Goto and van de Geijn 2008,
// "Anatomy of high-performance matrix multiplication"); attention takes blocks of queries whose scores fit the
// second-level cache.

namespace demask::kernels::cpu {
namespace {

constexpr int64_t panel_columns = 2 * Lanes::width;

inline int64_t round_up(int64_t number, int64_t to) {
  return (number + to - 1) / to * to;
}

}  // namespace
}  // namespace demask::kernels::cpu

// In this order: each takes what those before it give.
#include "kernels/cpu_elementary.h"
//
#include "kernels/cpu_products.h"
//
#include "kernels/cpu_attention.h"
#include "kernels/cpu_rows.h"

namespace demask::kernels::cpu {
namespace {

// T is the tile of products with weights; attention's is Tile.
template <typename T = Tile>
Isa make_isa(const char* name) {
  Isa isa;
  isa.name = name;
  isa.element_bytes = static_cast<int64_t>(sizeof(Element));
  isa.rows = T::rows;
  isa.columns = panel_columns;
  isa.pair = T::pair;
  isa.panel_bytes = [](int64_t inner) {
    return T::panel_size(inner) * static_cast<int64_t>(sizeof(typename T::Operand));
  };
  isa.pack = pack;
  isa.unpack_row = unpack_row;
  isa.product = product<T>;
  isa.norm = norm;
  isa.rms_norm = rms_norm;
  isa.rms_norm_heads = rms_norm_heads;
  isa.rotate = rotate;
  isa.convert = convert;
  isa.pack_keys = pack_keys;
  isa.attend = attend;
  isa.attend_scratch = attend_scratch;
  return isa;
}

}  // namespace
}  // namespace demask::kernels::cpu
