// Attention of a window beside float64 on the host, the keys and values that it keeps, and a text alone beside the same
// text among others, by bits. Exits with 0 where they agree.
#include "tests/sanitizer/alone.h"

namespace {

using namespace demask::alone;
using namespace demask::kernels::cuda::launch;

constexpr int64_t width = window_head_width;

struct Shape {
  int64_t batch, queries, keys, first, count, capacity;
  int64_t row() const { return (queries + 2 * keys) * width; }
  int64_t text_keys() const { return keys * capacity * width; }
};

template <typename T>
struct Window {
  Shape shape;
  std::vector<T> qkv, keys, values;
};

// What is there afterwards.
template <typename T>
struct Found {
  std::vector<T> mixed, keys, values;
};

// Cosines or sines [capacity, width / 2].
std::vector<float> angles(int64_t capacity, double (*of)(double)) {
  std::vector<float> all;
  for (int64_t at = 0; at < capacity * width / 2; ++at) {
    const auto position = static_cast<double>(at / (width / 2)), pair = static_cast<double>(at % (width / 2));
    all.push_back(static_cast<float>(of(position * std::pow(10000.0, -2 * pair / width))));
  }
  return all;
}

double cosine(double x) {
  return std::cos(x);
}
double sine(double x) {
  return std::sin(x);
}

template <typename T>
Found<T> run(const Window<T>& window, bool& taken, bool& whole) {
  const Shape& shape = window.shape;
  Room<T> qkv(window.qkv), keys(window.keys), values(window.values);
  Room<float> cosines(angles(shape.capacity, cosine)), sines(angles(shape.capacity, sine));
  Room<int64_t> first({shape.first});
  Written<T> mixed(shape.batch * shape.count * shape.queries * width);
  WindowArguments a;
  a.heads.queries = shape.queries;
  a.heads.keys = shape.keys;
  a.heads.head_width = width;
  a.heads.cosine = cosines.data();
  a.heads.sine = sines.data();
  a.qkv = qkv.data();
  a.keys = keys.data();
  a.values = values.data();
  a.first = first.data();
  a.mixed = mixed.data();
  a.batch = shape.batch;
  a.count = shape.count;
  a.capacity = shape.capacity;
  taken = taken && has_tile_products() && window_attention(Half<T>::precision, a, nullptr);
  return {mixed.values(whole), keys.values(), values.values()};
}

// A head's row of queries or keys, turned by the angles of its position.
template <typename T>
std::vector<T> rotated(const T* row, int64_t position) {
  constexpr int64_t half = width / 2;
  std::vector<T> out(static_cast<size_t>(width));
  for (int64_t i = 0; i < half; ++i) {
    const double angle = static_cast<double>(position) * std::pow(10000.0, -2 * static_cast<double>(i) / width);
    const double x = exact(row[i]), y = exact(row[half + i]), c = std::cos(angle), s = std::sin(angle);
    out[static_cast<size_t>(i)] = Half<T>::nearest(x * c - y * s);
    out[static_cast<size_t>(half + i)] = Half<T>::nearest(y * c + x * s);
  }
  return out;
}

// The keys and values that are to be kept.
template <typename T>
void keep_window(Window<T>& window) {
  const Shape& shape = window.shape;
  for (int64_t at = 0; at < shape.batch * shape.keys * shape.count; ++at) {
    const int64_t row = at % shape.count, head = at / shape.count % shape.keys, text = at / shape.count / shape.keys;
    const T* key = window.qkv.data() + (text * shape.count + row) * shape.row() + (shape.queries + head) * width;
    const T* value = key + shape.keys * width;
    const int64_t kept = ((text * shape.keys + head) * shape.capacity + shape.first + row) * width;
    const std::vector<T> turned = rotated(key, shape.first + row);
    std::copy(turned.begin(), turned.end(), window.keys.begin() + kept);
    std::copy(value, value + width, window.values.begin() + kept);
  }
}

// Of the query `number`, of all texts, rows and heads.
template <typename T>
void compare(const Window<T>& kept, const std::vector<T>& mixed, int64_t number, Difference& difference) {
  const Shape& shape = kept.shape;
  const int64_t head = number % shape.queries, row = number / shape.queries, text = row / shape.count;
  const int64_t key_head = text * shape.keys + head / (shape.queries / shape.keys);
  const auto key_of = [&](int64_t key) { return kept.keys.data() + (key_head * shape.capacity + key) * width; };
  const auto value_of = [&](int64_t key) { return kept.values.data() + (key_head * shape.capacity + key) * width; };
  const std::vector<T> query =
      rotated(kept.qkv.data() + row * shape.row() + head * width, shape.first + row % shape.count);
  const std::vector<double> expected = attended(query.data(), shape.capacity, width, key_of, value_of);
  for (int64_t i = 0; i < width; ++i) {
    difference.add(exact(mixed[static_cast<size_t>(number * width + i)]), expected[static_cast<size_t>(i)]);
  }
}

// One text of the window and of what was found.
template <typename T>
Window<T> text_of(const Window<T>& all, int64_t text) {
  Window<T> own{all.shape, part(all.qkv, text, 1, all.shape.count * all.shape.row()),
                part(all.keys, text, 1, all.shape.text_keys()), part(all.values, text, 1, all.shape.text_keys())};
  own.shape.batch = 1;
  return own;
}
template <typename T>
bool same_text(const Shape& shape, const Found<T>& alone, const Found<T>& all, int64_t text) {
  return same_bits(alone.mixed, part(all.mixed, text, 1, shape.count * shape.queries * width)) &&
         same_bits(alone.keys, part(all.keys, text, 1, shape.text_keys())) &&
         same_bits(alone.values, part(all.values, text, 1, shape.text_keys()));
}

// Keys may be rounded to a neighbour, where a sum in float32 is on the other side of a half; all else has the same
// bits.
template <typename T>
double keys_off(const Window<T>& kept, const Found<T>& found, bool& whole) {
  Difference difference;
  const Shape& shape = kept.shape;
  for (size_t i = 0; i < kept.keys.size(); ++i) {
    difference.add(exact(found.keys[i]), exact(kept.keys[i]));
    const int64_t position = static_cast<int64_t>(i) / width % shape.capacity;
    const bool is_new = position >= shape.first && position < shape.first + shape.count;
    whole = whole && (is_new || exact(found.keys[i]) == exact(kept.keys[i]));
  }
  whole = whole && same_bits(found.values, kept.values);
  return difference.relative();
}

template <typename T>
bool agrees(const Shape& shape) {
  const Window<T> given{shape, numbers<T>(shape.batch * shape.count * shape.row(), 1, 1.5),
                        numbers<T>(shape.batch * shape.text_keys(), 2, 1.5),
                        numbers<T>(shape.batch * shape.text_keys(), 3, 1.5)};
  bool taken = true, whole = true;
  const Found<T> found = run(given, taken, whole);
  Window<T> kept = given;
  keep_window(kept);
  double off = keys_off(kept, found, whole);
  constexpr int64_t compared = 60;  // queries, evenly apart, as the host is slow; and the last
  const int64_t queries = shape.batch * shape.count * shape.queries;
  Difference difference;
  for (int64_t number = 0; number < queries; number += 1 + queries / compared) {
    compare(kept, found.mixed, number, difference);
  }
  compare(kept, found.mixed, queries - 1, difference);
  const int64_t text = shape.batch / 2;
  const bool alike = same_text(shape, run(text_of(given, text), taken, whole), found, text);
  return report(std::string(Half<T>::name) + ", " + std::to_string(shape.batch) + " texts of " +
                    std::to_string(shape.capacity) + " positions, a window of " + std::to_string(shape.count) +
                    " from " + std::to_string(shape.first) + " on, " + std::to_string(shape.queries) + " heads, " +
                    std::to_string(shape.keys) + " of keys",
                std::fmax(off, difference.relative()), 2 * Half<T>::rounding, taken, whole, alike);
}

}  // namespace

int main() {
  bool fine = true;
  // A window at either end and inside, one row and as many as are taken, a text that is all window, fewer keys than
  // blocks to share them, more than are staged at once.
  for (const Shape& shape :
       {Shape{1, 1, 1, 0, 1, 1}, Shape{3, 2, 1, 7, 1, 8}, Shape{3, 2, 2, 0, 5, 40}, Shape{2, 4, 2, 0, 32, 32},
        Shape{3, 3, 1, 167, 33, 200}, Shape{2, 6, 2, 101, 64, 301}, Shape{3, 4, 1, 600, 17, 1301}}) {
    fine = agrees<__half>(shape) && fine;
    fine = agrees<__nv_bfloat16>(shape) && fine;
  }
  return fine ? 0 : 1;
}
