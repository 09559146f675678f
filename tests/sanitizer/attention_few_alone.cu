// Attention of one new token of one or a few texts beside float64 on the host, the keys and values that it keeps, and a
// text alone beside the same text among others, by bits. Exits with 0 where they agree.
#include "kernels/cuda_attention_few.cuh"
#include "tests/sanitizer/alone.h"

namespace {

using namespace demask::alone;
using namespace demask::kernels::cuda::launch;

constexpr int64_t width = 64, keys_each = 128;  // of a head, and of a block

struct Shape {
  int64_t batch, heads, position, capacity;
  int64_t text_keys() const { return heads * capacity * width; }
};

template <typename T>
struct Token {
  Shape shape;
  std::vector<T> qkv, keys, values;  // [batch, 3, heads, width], [batch, heads, capacity, width]
};

// What is there afterwards.
template <typename T>
struct Found {
  std::vector<T> mixed, keys, values;
};

template <typename T>
Found<T> run(const Token<T>& token, bool& taken, bool& whole) {
  const Shape& shape = token.shape;
  Room<T> qkv(token.qkv), keys(token.keys), values(token.values);
  Room<int64_t> position({shape.position});
  Written<T> mixed(shape.batch * shape.heads * width);
  DecodeArguments a;
  a.heads.queries = a.heads.keys = shape.heads;
  a.heads.head_width = width;
  a.qkv = qkv.data();
  a.keys = keys.data();
  a.values = values.data();
  a.position = position.data();
  a.mixed = mixed.data();
  a.batch = shape.batch;
  a.capacity = shape.capacity;
  a.splits = (shape.capacity + keys_each - 1) / keys_each;
  taken = few_attention(Half<T>::precision, a, nullptr) && taken;
  return {mixed.values(whole), keys.values(), values.values()};
}

// The keys and values with the new token's.
template <typename T>
Token<T> kept(Token<T> token) {
  const Shape& shape = token.shape;
  for (int64_t at = 0; at < shape.batch * shape.heads; ++at) {
    const int64_t text = at / shape.heads, head = at % shape.heads;
    const auto key = token.qkv.begin() + ((text * 3 + 1) * shape.heads + head) * width;
    const auto value = key + shape.heads * width;
    const int64_t to = (at * shape.capacity + shape.position) * width;
    std::copy(key, key + width, token.keys.begin() + to);
    std::copy(value, value + width, token.values.begin() + to);
  }
  return token;
}

template <typename T>
Difference compared(const Token<T>& token, const std::vector<T>& mixed) {
  const Shape& shape = token.shape;
  Difference difference;
  for (int64_t at = 0; at < shape.batch * shape.heads; ++at) {
    const T* query = token.qkv.data() + (at / shape.heads * 3 * shape.heads + at % shape.heads) * width;
    const auto key_of = [&](int64_t key) { return token.keys.data() + (at * shape.capacity + key) * width; };
    const auto value_of = [&](int64_t key) { return token.values.data() + (at * shape.capacity + key) * width; };
    const std::vector<double> expected = attended(query, shape.position + 1, width, key_of, value_of);
    for (int64_t i = 0; i < width; ++i) {
      difference.add(exact(mixed[static_cast<size_t>(at * width + i)]), expected[static_cast<size_t>(i)]);
    }
  }
  return difference;
}

template <typename T>
bool agrees(const Shape& shape) {
  const Token<T> token{shape, numbers<T>(shape.batch * 3 * shape.heads * width, 1, 2),
                       numbers<T>(shape.batch * shape.text_keys(), 2, 2),
                       numbers<T>(shape.batch * shape.text_keys(), 3, 1)};
  bool taken = true, whole = true;
  const Found<T> found = run(token, taken, whole);
  const Token<T> expected = kept(token);
  const int64_t last = shape.batch - 1;
  Token<T> one{shape, part(token.qkv, last, 1, 3 * shape.heads * width), part(token.keys, last, 1, shape.text_keys()),
               part(token.values, last, 1, shape.text_keys())};
  one.shape.batch = 1;
  const bool alike = same_bits(run(one, taken, whole).mixed, part(found.mixed, last, 1, shape.heads * width));
  const bool keeps = same_bits(found.keys, expected.keys) && same_bits(found.values, expected.values);
  return report(std::string(Half<T>::name) + ", " + std::to_string(shape.batch) + " texts, " +
                    std::to_string(shape.heads) + " heads, position " + std::to_string(shape.position),
                compared(expected, found.mixed).relative(), 2 * Half<T>::rounding, taken, whole && keeps, alike);
}

}  // namespace

int main() {
  bool fine = true;
  // One block, the last key of one and the first of the next, some of a cluster's blocks and all of them.
  for (const Shape& shape : {Shape{1, 1, 0, 100}, Shape{2, 3, 37, 130}, Shape{2, 5, 127, 300}, Shape{1, 3, 128, 300},
                             Shape{3, 2, 300, 1024}, Shape{2, 3, 1023, 1024}}) {
    fine = agrees<__half>(shape) && fine;
    fine = agrees<__nv_bfloat16>(shape) && fine;
  }
  return fine ? 0 : 1;
}
