// Scaled dot-product attention over packed keys and values; see cpu_simd.h.
namespace demask::kernels::cpu {
namespace {

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
  const int64_t all_rows = x.rows * x.group;  // a query's heads are neighbours
  for (int64_t start = 0; start < all_rows; start += block) {
    const int64_t rows = all_rows - start < block ? all_rows - start : block;
    const auto number = [&](int64_t row) {
      const int64_t query = (start + row) / x.group;
      return x.chosen == nullptr ? query : x.chosen[query];
    };
    int64_t seen = x.causal ? 0 : x.known;  // by any query of the block
    for (int64_t row = 0; row < rows; ++row) {
      const Element* query = static_cast<const Element*>(x.queries) + number(row) * x.query_stride +
                             (start + row) % x.group * x.head_width;
      for (int64_t d = 0; d < x.head_width; ++d) {
        queries[row * query_stride + d] = query[d];
      }
      const int64_t own = x.first_position + number(row) + 1;
      seen = own > seen ? own : seen;
    }
    seen = seen < x.known ? seen : x.known;
    const int64_t padded = round_up(seen, panel_columns);
    for (int64_t position = 0; position < padded; position += panel_columns) {
      run_panel<Tile>(queries, query_stride, rows, static_cast<const Element*>(x.keys) + position * x.head_width,
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
      run_panel<Tile>(weights, weight_stride, rows, static_cast<const Element*>(x.values) + d * x.capacity, padded,
                      [&](int64_t row, Lanes first, Lanes second) {
                        const Lanes share = splat(shares[row]);
                        Element* out = static_cast<Element*>(x.out) + (start + row) / x.group * x.out_stride +
                                       (start + row) % x.group * x.head_width;
                        store_row(first * share, second * share, out + d, valid);
                      });
    }
  }
}

}  // namespace
}  // namespace demask::kernels::cpu
