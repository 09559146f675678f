// Attention in which every query sees every key beside float64 on the host, and a text alone beside the same text among
// others, by bits. Exits with 0 where they agree.
#include "tests/sanitizer/alone.h"

namespace {

using namespace demask::alone;
using namespace demask::kernels::cuda::launch;

struct Shape {
  int64_t batch, length, heads, key_heads;
  int64_t row() const { return (heads + 2 * key_heads) * attention_head; }
  int64_t out_row() const { return heads * attention_head; }
};

template <typename T>
std::vector<T> run(const Shape& shape, const std::vector<T>& qkv, bool& taken, bool& whole) {
  Room<T> given(qkv);
  Written<T> mixed(shape.batch * shape.length * shape.out_row());
  BidirectionalAttentionArguments a;
  a.qkv = given.data();
  a.mixed = mixed.data();
  a.batch = shape.batch;
  a.length = shape.length;
  a.heads = shape.heads;
  a.key_heads = shape.key_heads;
  taken = taken && has_tile_products() && bidirectional_attention(Half<T>::precision, a, nullptr);
  return mixed.values(whole);
}

// Adds what the query `number`, of all texts, rows and heads, has found.
template <typename T>
void compare(const Shape& shape, const std::vector<T>& qkv, const std::vector<T>& found, int64_t number,
             Difference& difference) {
  const int64_t head = number % shape.heads, row = number / shape.heads, text = row / shape.length;
  const int64_t key_head = head / (shape.heads / shape.key_heads);
  const T* rows = qkv.data() + text * shape.length * shape.row();
  const auto key_of = [&](int64_t key) { return rows + key * shape.row() + (shape.heads + key_head) * attention_head; };
  const auto value_of = [&](int64_t key) { return key_of(key) + shape.key_heads * attention_head; };
  const std::vector<double> expected =
      attended(qkv.data() + row * shape.row() + head * attention_head, shape.length, attention_head, key_of, value_of);
  for (int64_t i = 0; i < attention_head; ++i) {
    difference.add(exact(found[static_cast<size_t>(number * attention_head + i)]), expected[static_cast<size_t>(i)]);
  }
}

template <typename T>
bool agrees(const Shape& shape, int largest) {
  const std::vector<T> qkv = numbers<T>(shape.batch * shape.length * shape.row(), 1, largest);
  bool taken = true, whole = true;
  const std::vector<T> found = run(shape, qkv, taken, whole);
  constexpr int64_t compared = 60;  // queries, evenly apart, as the host is slow; and the last
  const int64_t queries = shape.batch * shape.length * shape.heads;
  Difference difference;
  for (int64_t number = 0; number < queries; number += 1 + queries / compared) {
    compare(shape, qkv, found, number, difference);
  }
  compare(shape, qkv, found, queries - 1, difference);
  Shape alone = shape;
  alone.batch = 1;
  const int64_t text = shape.batch / 2;
  const std::vector<T> own = run(alone, part(qkv, text, 1, shape.length * shape.row()), taken, whole);
  const bool alike = same_bits(own, part(found, text, 1, shape.length * shape.out_row()));
  return report(std::string(Half<T>::name) + ", " + std::to_string(shape.batch) + " texts of " +
                    std::to_string(shape.length) + " tokens, " + std::to_string(shape.heads) + " heads, " +
                    std::to_string(shape.key_heads) + " of keys, values up to " + std::to_string(largest),
                difference.relative(), 2 * Half<T>::rounding, taken, whole, alike);
}

// Whether a text, alone or among the others, has its parts relayed from warpgroup to warpgroup.
bool is_relayed(const Shape& shape) {
  constexpr int64_t unit = 64, part = 128;
  int multiprocessors = 0;
  cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, 0);
  return shape.length > part && shape.heads * ((shape.length + unit - 1) / unit) <= multiprocessors;
}

}  // namespace

// With any argument, no shape of which a text is relayed.
int main(int argc, char** /*arguments*/) {
  bool fine = true;
  // On 132 multiprocessors these have, in turn: one warpgroup a block, with keys of a part; several that relay a unit's
  // parts, on the edges of units and parts, with as many parts as are kept at once and with more; three blocks of one
  // warpgroup a multiprocessor, with a part and with more than are kept; two warpgroups, and with more pieces than
  // multiprocessors; three warpgroups, likewise; three whose pieces reach into the next head, with a part, with a piece
  // that has fewer units, and with more parts than stages; three and two, of texts that alone are relayed.
  for (const Shape& shape :
       {Shape{1, 1, 1, 1},   Shape{3, 37, 2, 1},    Shape{2, 127, 3, 3},  Shape{2, 129, 4, 4},   Shape{1, 256, 2, 2},
        Shape{2, 300, 2, 1}, Shape{1, 512, 3, 1},   Shape{1, 640, 1, 1},  Shape{2, 700, 1, 1},   Shape{1, 1201, 1, 1},
        Shape{5, 60, 40, 8}, Shape{3, 300, 28, 14}, Shape{3, 250, 66, 6}, Shape{2, 190, 66, 66}, Shape{3, 185, 132, 11},
        Shape{3, 90, 66, 6}, Shape{2, 250, 49, 7},  Shape{7, 500, 7, 7},  Shape{12, 300, 5, 5},  Shape{4, 650, 4, 2}}) {
    if (argc > 1 && is_relayed(shape)) {
      continue;
    }
    for (const int largest : {2, 6}) {  // of the numbers given; with 6 some later parts have far larger scores
      fine = agrees<__half>(shape, largest) && fine;
      fine = agrees<__nv_bfloat16>(shape, largest) && fine;
    }
  }
  return fine ? 0 : 1;
}
