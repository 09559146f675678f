// Products with packed weights; see cpu_simd.h. They are written for a tile T, whose operands may be other than
// elements.
namespace demask::kernels::cpu {
namespace {

template <typename T>
inline void store_row(Lanes first, Lanes second, T* out, int64_t valid) {
  if (valid == panel_columns) {
    store(out, first);
    store(out + Lanes::width, second);
  } else {
    alignas(64) T all[panel_columns];
    store(all, first);
    store(all + Lanes::width, second);
    for (int64_t i = 0; i < valid; ++i) {
      out[i] = all[i];
    }
  }
}

// One tile's sums go to `finish(row, first, second)`.
template <typename T, unsigned rows, typename Finish>
inline void run_tile(const typename T::Operand* a, int64_t a_stride, const typename T::Operand* panel, int64_t inner,
                     const Finish& finish) {
  Lanes sums[rows][2];
  T::template multiply<rows>(a, a_stride, panel, inner, sums);
  DEMASK_UNROLL
  for (unsigned row = 0; row < rows; ++row) {
    finish(row, sums[row][0], sums[row][1]);
  }
}

// As many rows as there are, up to a full tile; finish gets the row's number from the first one on.
template <typename T, typename Finish, unsigned rows = T::rows>
inline void run_rows(int64_t count, const typename T::Operand* a, int64_t a_stride, const typename T::Operand* panel,
                     int64_t inner, const Finish& finish) {
  if constexpr (rows > 0) {
    if (count >= rows) {
      run_tile<T, rows>(a, a_stride, panel, inner, finish);
    } else {
      run_rows<T, Finish, rows - 1>(count, a, a_stride, panel, inner, finish);
    }
  }
}

// Calls finish(row, first, second) for every row, tile by tile. A tile of half the rows takes more than half the time,
// so tiles are alike, except that a few rows cost next to nothing after full tiles.
template <typename T, typename Finish>
inline void run_panel(const typename T::Operand* a, int64_t a_stride, int64_t rows, const typename T::Operand* panel,
                      int64_t inner, const Finish& finish) {
  constexpr int64_t full = T::rows, few = 3;
  const int64_t tiles = (rows + full - 1) / full, rest = rows % full;
  const int64_t each = rows < full || rest <= few ? full : (rows + tiles - 1) / tiles;
  for (int64_t row = 0; row < rows; row += each) {
    run_rows<T>(each < rows - row ? each : rows - row, a + row * a_stride, a_stride, panel, inner,
                [&](unsigned within, Lanes first, Lanes second) { finish(row + within, first, second); });
  }
}

// Calls finish(place in out, first, second, valid) for every row of every panel, which gives `columns` of the outputs,
// or the `valid` ones that are left.
template <typename T, int64_t columns = panel_columns, typename Finish>
void for_each_panel(const ProductArguments& x, const Finish& finish) {
  using Operand = typename T::Operand;
  const int64_t panel_size = T::panel_size(x.inner);
  for (int64_t p = x.first_panel; p < x.last_panel; ++p) {
    const int64_t column = p * panel_columns;
    const int64_t left = x.outputs - p * columns, valid = left < columns ? left : columns;
    const Lanes first_bias = load(x.bias + column), second_bias = load(x.bias + column + Lanes::width);
    run_panel<T>(static_cast<const Operand*>(x.a), x.a_stride, x.rows,
                 static_cast<const Operand*>(x.packed) + p * panel_size, x.inner,
                 [&](int64_t row, Lanes first, Lanes second) {
                   finish(row * x.out_stride + p * columns, first + first_bias, second + second_bias, valid);
                 });
  }
}

template <typename T, typename Function>
void store_elements(const ProductArguments& x, const Function& function) {
  for_each_panel<T>(x, [&](int64_t at, Lanes first, Lanes second, int64_t valid) {
    store_row(function(first), function(second), static_cast<Element*>(x.out) + at, valid);
  });
}

// A panel's first vector holds gates, its second what they let through.
template <typename T, typename Function>
void store_gated(const ProductArguments& x, const Function& function) {
  for_each_panel<T, Lanes::width>(x, [&](int64_t at, Lanes gate, Lanes up, int64_t valid) {
    const Lanes passed = function(gate) * up;
    Element* out = static_cast<Element*>(x.out) + at;
    if (valid == Lanes::width) {
      store(out, passed);
    } else {
      store_row(passed, passed, out, valid);
    }
  });
}

template <typename T>
void product(const ProductArguments& x) {
  switch (x.epilogue) {
    case Epilogue::store:
      return store_elements<T>(x, [](Lanes sum) { return sum; });
    case Epilogue::store_single:
      return for_each_panel<T>(x, [&](int64_t at, Lanes first, Lanes second, int64_t valid) {
        store_row(first, second, static_cast<float*>(x.out) + at, valid);
      });
    case Epilogue::add:
      return for_each_panel<T>(x, [&](int64_t at, Lanes first, Lanes second, int64_t valid) {
        float* out = static_cast<float*>(x.out) + at;
        if (valid == panel_columns) {
          store(out, load(out) + first);
          store(out + Lanes::width, load(out + Lanes::width) + second);
        } else {
          alignas(64) float sums[panel_columns];
          store(sums, first);
          store(sums + Lanes::width, second);
          for (int64_t i = 0; i < valid; ++i) {
            out[i] += sums[i];
          }
        }
      });
    case Epilogue::gelu:
      return store_elements<T>(x, exact_gelu);
    case Epilogue::gelu_tanh:
      return store_elements<T>(x, tanh_gelu);
    case Epilogue::silu:
      return store_elements<T>(x, silu);
    case Epilogue::gated_gelu:
      return store_gated<T>(x, exact_gelu);
    case Epilogue::gated_gelu_tanh:
      return store_gated<T>(x, tanh_gelu);
    case Epilogue::gated_silu:
      return store_gated<T>(x, silu);
  }
}

// Of one panel, whose outputs are weight [outputs, inner], the weights from `first` of the inner dimension on.
inline void pack_one_by_one(const float* weight, int64_t outputs, int64_t inner, int64_t first, Element* out) {
  for (int64_t k = first; k < round_up(inner, Tile::pair); k += Tile::pair) {
    for (int64_t c = 0; c < panel_columns; ++c) {
      for (int64_t i = 0; i < Tile::pair; ++i) {
        const bool there = c < outputs && k + i < inner;
        *out++ = to_element(there ? weight[c * inner + k + i] : 0.0F);
      }
    }
  }
}

// In squares of as many outputs as there are lanes, by as many pairs of the inner dimension. A panel that lacks outputs
// goes one by one.
void pack(const float* weight, int64_t outputs, int64_t inner, void* packed) {
  constexpr int64_t square = Lanes::width * Tile::pair;
  constexpr uintptr_t line_bytes = 64, float_bytes = sizeof(float);
  Element* out = static_cast<Element*>(packed);
  for (int64_t column = 0; column < outputs; column += panel_columns, out += Tile::panel_size(inner)) {
    const float* const rows = weight + column * inner;
    const int64_t whole = outputs - column < panel_columns ? 0 : inner / square * square;
    for (int64_t k = 0; k < whole; k += square) {
      // Squares take a line or two of many rows, which memory gives faster in the order in which they lie. What lies
      // there is most likely the next panel's; nothing happens where it is not.
      const uintptr_t ahead =
          reinterpret_cast<uintptr_t>(rows) + float_bytes * static_cast<uintptr_t>(panel_columns * (inner + k));
      for (uintptr_t line = 0; line < float_bytes * panel_columns * square; line += line_bytes) {
        __builtin_prefetch(reinterpret_cast<const void*>(ahead + line), 0, 2);
      }
      for (int64_t half = 0; half < 2; ++half) {
        Lanes pairs[Lanes::width];
        DEMASK_UNROLL
        for (int64_t c = 0; c < Lanes::width; ++c) {
          pairs[c] = Tile::pairs_of(rows + (half * Lanes::width + c) * inner + k);
        }
        transpose(pairs);
        Element* const at = out + k * panel_columns + half * square;
        DEMASK_UNROLL
        for (int64_t i = 0; i < Lanes::width; ++i) {
          Tile::store_pairs(at + i * panel_columns * Tile::pair, pairs[i]);
        }
      }
    }
    pack_one_by_one(rows, outputs - column, inner, whole, out + whole * panel_columns);
  }
}

void unpack_row(const void* packed, int64_t inner, int64_t output, float* weight) {
  constexpr int64_t pair = Tile::pair;
  const Element* column = static_cast<const Element*>(packed) + output / panel_columns * Tile::panel_size(inner) +
                          output % panel_columns * pair;
  for (int64_t k = 0; k < inner; ++k) {
    weight[k] = from_element(column[k / pair * pair * panel_columns + k % pair]);
  }
}

}  // namespace
}  // namespace demask::kernels::cpu
