// What every row goes through by itself: norms, rotary, conversion; see cpu_simd.h.
namespace demask::kernels::cpu {
namespace {

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

// One over the root of the mean square.
inline float rms_scale(const float* x, int64_t width, float epsilon) {
  const int64_t whole = width / Lanes::width * Lanes::width;
  Lanes squares = splat(0.0F);
  for (int64_t i = 0; i < whole; i += Lanes::width) {
    const Lanes value = load(x + i);
    squares = multiply_add(value, value, squares);
  }
  float square = total(squares);
  for (int64_t i = whole; i < width; ++i) {
    square += x[i] * x[i];
  }
  return 1.0F / square_root(square / static_cast<float>(width) + epsilon);
}

template <typename T>
inline void scale_row(const float* x, float scale, const float* weight, int64_t width, T* out) {
  const int64_t whole = width / Lanes::width * Lanes::width;
  for (int64_t i = 0; i < whole; i += Lanes::width) {
    store(out + i, load(x + i) * splat(scale) * load(weight + i));
  }
  for (int64_t i = whole; i < width; ++i) {
    if constexpr (sizeof(T) == sizeof(float)) {
      out[i] = x[i] * scale * weight[i];
    } else {
      out[i] = to_element(x[i] * scale * weight[i]);
    }
  }
}

void rms_norm(const float* x, const float* weight, int64_t rows, int64_t width, float epsilon, void* out,
              int64_t out_stride) {
  for (int64_t row = 0; row < rows; ++row, x += width) {
    scale_row(x, rms_scale(x, width, epsilon), weight, width, static_cast<Element*>(out) + row * out_stride);
  }
}

void rms_norm_heads(float* x, int64_t stride, int64_t rows, int64_t heads, int64_t head_width, const float* weight,
                    float epsilon) {
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t head = 0; head < heads; ++head) {
      float* own = x + row * stride + head * head_width;
      scale_row(own, rms_scale(own, head_width, epsilon), weight, head_width, own);
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

}  // namespace
}  // namespace demask::kernels::cpu
