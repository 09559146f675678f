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

// ------------------------------------------------------------------------------------------------ elementary functions

// e^x for x <= 0, relative error below 2e-7, down to 1e-38, which it gives for whatever is smaller. Reduction to
// |r| <= ln 2 / 2 and the polynomial of expf in the Cephes library (Moshier 1989).
inline Lanes exponential(Lanes x) {
  x = max(x, splat(-87.3F));
  const Lanes n = round_to_integer(x * splat(1.44269504088896341F));
  Lanes r = multiply_add(n, splat(-0.693359375F), x);
  r = multiply_add(n, splat(2.12194440e-4F), r);
  Lanes p = splat(1.9875691500e-4F);
  p = multiply_add(p, r, splat(1.3981999507e-3F));
  p = multiply_add(p, r, splat(8.3334519073e-3F));
  p = multiply_add(p, r, splat(4.1665795894e-2F));
  p = multiply_add(p, r, splat(1.6666665459e-1F));
  p = multiply_add(p, r, splat(5.0000001201e-1F));
  p = multiply_add(p, r * r, r + splat(1.0F));
  return scale_by_power_of_two(p, n);
}

// x * (1 + erf(x / sqrt 2)) / 2, erf by Abramowitz and Stegun 7.1.26: absolute error below 1.5e-7.
inline Lanes exact_gelu(Lanes x) {
  const Lanes z = absolute(x) * splat(0.70710678118654752F);
  const Lanes t = splat(1.0F) / multiply_add(splat(0.3275911F), z, splat(1.0F));
  Lanes p = splat(1.061405429F);
  p = multiply_add(p, t, splat(-1.453152027F));
  p = multiply_add(p, t, splat(1.421413741F));
  p = multiply_add(p, t, splat(-0.284496736F));
  p = multiply_add(p, t, splat(0.254829592F));
  const Lanes tail = p * t * exponential(splat(0.0F) - z * z);  // 1 - erf(z)
  // For x > 0: x * (2 - tail) / 2; otherwise x * tail / 2.
  return splat(0.5F) * x * select_positive(x, splat(2.0F) - tail, tail);
}

// -------------------------------------------------------------------------------------------------------------
// products

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
template <unsigned rows, typename Finish>
inline void run_tile(const Element* a, int64_t a_stride, const Element* panel, int64_t inner, const Finish& finish) {
  Lanes sums[rows][2];
  Tile::multiply<rows>(a, a_stride, panel, inner, sums);
  DEMASK_UNROLL
  for (unsigned row = 0; row < rows; ++row) {
    finish(row, sums[row][0], sums[row][1]);
  }
}

// As many rows as there are, up to a full tile; finish gets the row's number from the first one on.
template <typename Finish, unsigned rows = Tile::rows>
inline void run_rows(int64_t count, const Element* a, int64_t a_stride, const Element* panel, int64_t inner,
                     const Finish& finish) {
  if constexpr (rows > 0) {
    if (count >= rows) {
      run_tile<rows>(a, a_stride, panel, inner, finish);
    } else {
      run_rows<Finish, rows - 1>(count, a, a_stride, panel, inner, finish);
    }
  }
}

// Calls finish(row, first, second) for every row, tile by tile.
template <typename Finish>
inline void run_panel(const Element* a, int64_t a_stride, int64_t rows, const Element* panel, int64_t inner,
                      const Finish& finish) {
  for (int64_t row = 0; row < rows; row += Tile::rows) {
    run_rows(rows - row, a + row * a_stride, a_stride, panel, inner,
             [&](unsigned within, Lanes first, Lanes second) { finish(row + within, first, second); });
  }
}

template <typename Finish>
void for_each_panel(const ProductArguments& x, const Finish& finish) {
  for (int64_t p = x.first_panel; p < x.last_panel; ++p) {
    const int64_t column = p * panel_columns;
    const int64_t valid = x.outputs - column < panel_columns ? x.outputs - column : panel_columns;
    const Lanes first_bias = load(x.bias + column), second_bias = load(x.bias + column + Lanes::width);
    run_panel(static_cast<const Element*>(x.a), x.a_stride, x.rows,
              static_cast<const Element*>(x.packed) + column * round_up(x.inner, Tile::pair), x.inner,
              [&](int64_t row, Lanes first, Lanes second) {
                finish(row * x.out_stride + column, first + first_bias, second + second_bias, valid);
              });
  }
}

void product(const ProductArguments& x) {
  switch (x.epilogue) {
    case Epilogue::store:
      return for_each_panel(x, [&](int64_t at, Lanes first, Lanes second, int64_t valid) {
        store_row(first, second, static_cast<Element*>(x.out) + at, valid);
      });
    case Epilogue::store_single:
      return for_each_panel(x, [&](int64_t at, Lanes first, Lanes second, int64_t valid) {
        store_row(first, second, static_cast<float*>(x.out) + at, valid);
      });
    case Epilogue::gelu:
      return for_each_panel(x, [&](int64_t at, Lanes first, Lanes second, int64_t valid) {
        store_row(exact_gelu(first), exact_gelu(second), static_cast<Element*>(x.out) + at, valid);
      });
    case Epilogue::add:
      return for_each_panel(x, [&](int64_t at, Lanes first, Lanes second, int64_t valid) {
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
  }
}

void pack(const float* weight, int64_t outputs, int64_t inner, void* packed) {
  Element* out = static_cast<Element*>(packed);
  const int64_t padded = round_up(inner, Tile::pair);
  for (int64_t column = 0; column < outputs; column += panel_columns) {
    for (int64_t k = 0; k < padded; k += Tile::pair) {
      for (int64_t c = 0; c < panel_columns; ++c) {
        for (int64_t i = 0; i < Tile::pair; ++i) {
          const bool there = column + c < outputs && k + i < inner;
          *out++ = to_element(there ? weight[(column + c) * inner + k + i] : 0.0F);
        }
      }
    }
  }
}

// ----------------------------------------------------------------------------------------------------- rows on their
// own

void norm(const float* x, const float* weight, const float* bias, int64_t rows, int64_t width, float epsilon, void* out,
          int64_t out_stride) {
  const int64_t whole = width / Lanes::width * Lanes::width;
  for (int64_t row = 0; row < rows; ++row, x += width) {
    Element* normed = static_cast<Element*>(out) + row * out_stride;
    Lanes sums = splat(0.0F);
    for (int64_t i = 0; i < whole; i += Lanes::width) {
      sums = sums + load(x + i);
    }
    float sum = total(sums);
    for (int64_t i = whole; i < width; ++i) {
      sum += x[i];
    }
    const float mean = sum / static_cast<float>(width);
    Lanes squares = splat(0.0F);
    for (int64_t i = 0; i < whole; i += Lanes::width) {
      const Lanes difference = load(x + i) - splat(mean);
      squares = multiply_add(difference, difference, squares);
    }
    float square = total(squares);
    for (int64_t i = whole; i < width; ++i) {
      square += (x[i] - mean) * (x[i] - mean);
    }
    const float scale = 1.0F / square_root(square / static_cast<float>(width) + epsilon);
    for (int64_t i = 0; i < whole; i += Lanes::width) {
      const Lanes value = (load(x + i) - splat(mean)) * splat(scale) * load(weight + i);
      store(normed + i, bias == nullptr ? value : value + load(bias + i));
    }
    for (int64_t i = whole; i < width; ++i) {
      normed[i] = to_element((x[i] - mean) * scale * weight[i] + (bias == nullptr ? 0.0F : bias[i]));
    }
  }
}

void rotate(float* x, int64_t stride, int64_t rows, int64_t first_row, int64_t length, int64_t first_position,
            int64_t heads, int64_t head_width, const float* cosine, const float* sine) {
  const int64_t half = head_width / 2, whole = half / Lanes::width * Lanes::width;
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t position = first_position + (first_row + row) % length;
    const float* c = cosine + position * half;
    const float* s = sine + position * half;
    for (int64_t head = 0; head < heads; ++head) {
      float* first = x + row * stride + head * head_width;
      float* second = first + half;
      for (int64_t i = 0; i < whole; i += Lanes::width) {
        const Lanes a = load(first + i), b = load(second + i), cos = load(c + i), sin = load(s + i);
        store(first + i, a * cos - b * sin);
        store(second + i, b * cos + a * sin);
      }
      for (int64_t i = whole; i < half; ++i) {
        const float a = first[i], b = second[i];
        first[i] = a * c[i] - b * s[i];
        second[i] = b * c[i] + a * s[i];
      }
    }
  }
}

void convert(const float* x, int64_t x_stride, int64_t rows, int64_t width, void* out, int64_t out_stride) {
  const int64_t whole = width / Lanes::width * Lanes::width;
  for (int64_t row = 0; row < rows; ++row, x += x_stride) {
    Element* elements = static_cast<Element*>(out) + row * out_stride;
    for (int64_t i = 0; i < whole; i += Lanes::width) {
      store(elements + i, load(x + i));
    }
    for (int64_t i = whole; i < width; ++i) {
      elements[i] = to_element(x[i]);
    }
  }
}

// ------------------------------------------------------------------------------------------------------------
// attention

void pack_keys(const void* keys, const void* values, int64_t stride, int64_t first, int64_t count, int64_t head_width,
               int64_t capacity, void* packed_keys, void* packed_values) {
  constexpr int64_t pair = Tile::pair;
  const Element* key = static_cast<const Element*>(keys);
  const Element* value = static_cast<const Element*>(values);
  for (int64_t i = 0; i < count; ++i, key += stride, value += stride) {
    const int64_t position = first + i;
    Element* column = static_cast<Element*>(packed_keys) + position / panel_columns * panel_columns * head_width +
                      position % panel_columns * pair;
    for (int64_t d = 0; d < head_width; d += pair) {
      for (int64_t j = 0; j < pair; ++j) {
        column[d * panel_columns + j] = key[d + j];
      }
    }
    Element* row = static_cast<Element*>(packed_values) + position / pair * pair * panel_columns + position % pair;
    for (int64_t d = 0; d < head_width; ++d) {
      row[d / panel_columns * panel_columns * capacity + d % panel_columns * pair] = value[d];
    }
  }
}

// Rows of queries taken at once: their scores should stay in the second-level cache.
inline int64_t query_rows(int64_t capacity) {
  constexpr int64_t scores = 32768, most = 8 * Tile::rows;
  const int64_t rows = scores / capacity / Tile::rows * Tile::rows;
  return rows < Tile::rows ? Tile::rows : rows > most ? most : rows;
}

// Rows a multiple of 4 KiB apart would share the lines of the first-level cache.
inline int64_t spaced(int64_t elements) {
  return elements + 64 / static_cast<int64_t>(sizeof(Element));
}

int64_t attend_scratch(int64_t head_width, int64_t capacity) {
  const int64_t rows = query_rows(capacity);
  return rows * (spaced(head_width) + spaced(capacity)) * static_cast<int64_t>(sizeof(Element)) +
         rows * spaced(capacity) * static_cast<int64_t>(sizeof(float));
}

// scores [seen] become their exponentials relative to the largest, as elements; the rest up to `padded` zero. Returns
// one over the sum.
inline float soften(const float* scores, int64_t seen, int64_t padded, float scale, Element* weights) {
  const int64_t whole = seen / Lanes::width * Lanes::width;
  Lanes most = splat(-3.0e38F);
  for (int64_t i = 0; i < whole; i += Lanes::width) {
    most = max(most, load(scores + i));
  }
  float largest = highest(most);
  for (int64_t i = whole; i < seen; ++i) {
    largest = scores[i] > largest ? scores[i] : largest;
  }
  const Lanes shift = splat(-largest * scale), factor = splat(scale);
  Lanes sums = splat(0.0F);
  for (int64_t i = 0; i < whole; i += Lanes::width) {
    const Lanes weight = exponential(multiply_add(load(scores + i), factor, shift));
    sums = sums + weight;
    store(weights + i, weight);
  }
  float sum = total(sums);
  if (whole < padded) {
    alignas(64) float rest[panel_columns] = {};
    for (int64_t i = whole; i < seen; ++i) {
      rest[i - whole] = scores[i];
    }
    store(rest, exponential(multiply_add(load(rest), factor, shift)));
    for (int64_t i = whole; i < padded; ++i) {
      const float weight = i < seen ? rest[i - whole] : 0.0F;
      weights[i] = to_element(weight);
      sum += weight;
    }
  }
  return 1.0F / sum;
}

void attend(const AttendArguments& x) {
  const int64_t block = query_rows(x.capacity);
  const int64_t query_stride = spaced(x.head_width), weight_stride = spaced(x.capacity);
  float* scores = static_cast<float*>(x.scratch);
  Element* weights = reinterpret_cast<Element*>(scores + block * weight_stride);
  Element* queries = weights + block * weight_stride;
  const float scale = 1.0F / square_root(static_cast<float>(x.head_width));
  float shares[8 * Tile::rows];
  for (int64_t start = 0; start < x.rows; start += block) {
    const int64_t rows = x.rows - start < block ? x.rows - start : block;
    const auto number = [&](int64_t row) { return x.chosen == nullptr ? start + row : x.chosen[start + row]; };
    int64_t seen = x.causal ? 0 : x.known;  // by any query of the block
    for (int64_t row = 0; row < rows; ++row) {
      const Element* query = static_cast<const Element*>(x.queries) + number(row) * x.query_stride;
      for (int64_t d = 0; d < x.head_width; ++d) {
        queries[row * query_stride + d] = query[d];
      }
      const int64_t own = x.first_position + number(row) + 1;
      seen = own > seen ? own : seen;
    }
    seen = seen < x.known ? seen : x.known;
    const int64_t padded = round_up(seen, panel_columns);
    for (int64_t position = 0; position < padded; position += panel_columns) {
      run_panel(queries, query_stride, rows, static_cast<const Element*>(x.keys) + position * x.head_width,
                x.head_width, [&](int64_t row, Lanes first, Lanes second) {
                  store(scores + row * weight_stride + position, first);
                  store(scores + row * weight_stride + position + Lanes::width, second);
                });
    }
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t own = x.first_position + number(row) + 1;
      shares[row] = soften(scores + row * weight_stride, x.causal && own < seen ? own : seen, padded, scale,
                           weights + row * weight_stride);
    }
    for (int64_t d = 0; d < x.head_width; d += panel_columns) {
      const int64_t valid = x.head_width - d < panel_columns ? x.head_width - d : panel_columns;
      run_panel(weights, weight_stride, rows, static_cast<const Element*>(x.values) + d * x.capacity, padded,
                [&](int64_t row, Lanes first, Lanes second) {
                  const Lanes share = splat(shares[row]);
                  store_row(first * share, second * share,
                            static_cast<Element*>(x.out) + (start + row) * x.out_stride + d, valid);
                });
    }
  }
}

Isa make_isa(const char* name) {
  return {name,       static_cast<int64_t>(sizeof(Element)),
          Tile::rows, panel_columns,
          pack,       product,
          norm,       rotate,
          convert,    pack_keys,
          attend,     attend_scratch};
}

}  // namespace
}  // namespace demask::kernels::cpu
