#include "kernels/cpu.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

#include "kernels/threads.h"

namespace demask::kernels::cpu {
namespace {

constexpr int64_t worth_sharing = 1 << 16;   // multiply-adds, some microseconds: what waking a thread costs
constexpr int64_t packed_at_once = 1 << 20;  // weights, of which there are floats meanwhile

// A layer without weights or bias so far, whose products write `outputs` columns, `each` from a panel.
Linear make_layer(const Isa& isa, int64_t outputs, int64_t inner, int64_t each) {
  Linear linear;
  linear.outputs = outputs;
  linear.inner = inner;
  linear.bias = at::zeros({(outputs + each - 1) / each * isa.columns}, at::kFloat);
  return linear;
}

// The same with room for its panels.
Linear make_room(const Isa& isa, int64_t outputs, int64_t inner, int64_t each, LargePages& pages) {
  Linear linear = make_layer(isa, outputs, inner, each);
  linear.panels = pages.take(linear.bias.size(0) / isa.columns * isa.panel_bytes(inner));
  return linear;
}

void set_bias(Linear& linear, const at::Tensor& bias) {
  if (bias.defined()) {
    linear.bias.narrow(0, 0, linear.outputs).copy_(bias);
  }
}

// rows_of(first, count) gives the weights of so many panels from `first` on, [at most count * columns, inner].
template <typename RowsOf>
void pack_panels(const Isa& isa, const Linear& linear, const RowsOf& rows_of) {
  const int64_t panels = linear.bias.size(0) / isa.columns;
  const int64_t panel_bytes = isa.panel_bytes(linear.inner);
  const int64_t each = std::max<int64_t>(1, packed_at_once / (isa.columns * linear.inner));
  for (int64_t start = 0; start < panels; start += each) {
    const at::Tensor rows = rows_of(start, std::min(each, panels - start)).to(at::kFloat).contiguous();
    const float* const weights = rows.data_ptr<float>();
    char* const packed = static_cast<char*>(linear.panels.data_ptr()) + start * panel_bytes;
    run_tasks((rows.size(0) + isa.columns - 1) / isa.columns, [&](int64_t first, int64_t last, int64_t /*thread*/) {
      const int64_t row = first * isa.columns;
      isa.pack(weights + row * linear.inner, std::min(last * isa.columns, rows.size(0)) - row, linear.inner,
               packed + first * panel_bytes);
    });
  }
}

// Room for one panel, of this thread, until it asks again.
void* own_panel(const Isa& isa, int64_t inner) {
  constexpr int64_t line = 64;
  thread_local std::vector<char> bytes;
  bytes.resize(static_cast<size_t>(isa.panel_bytes(inner) + line));
  const auto address = reinterpret_cast<uintptr_t>(bytes.data());
  return bytes.data() + (line - static_cast<int64_t>(address % line)) % line;
}

// The panels of `all` one by one, each made in the cache just before it is multiplied.
void multiply_as_stored(const Isa& isa, const at::Tensor& stored, const ProductArguments& all) {
  const float* const weights = stored.data_ptr<float>();
  void* const panel = own_panel(isa, all.inner);
  const bool single = all.epilogue == Epilogue::store_single || all.epilogue == Epilogue::add;
  const int64_t out_bytes = single ? static_cast<int64_t>(sizeof(float)) : isa.element_bytes;
  for (int64_t p = all.first_panel; p < all.last_panel; ++p) {
    const int64_t first = p * isa.columns;
    isa.pack(weights + first * all.inner, std::min(isa.columns, stored.size(0) - first), all.inner, panel);
    ProductArguments one = all;
    one.packed = panel;
    one.bias = all.bias + first;
    one.first_panel = 0;
    one.last_panel = 1;
    one.outputs = all.outputs - first;
    one.out = static_cast<char*>(all.out) + first * out_bytes;
    isa.product(one);
  }
}

void multiply(const Isa& isa, const Linear& linear, const ProductArguments& arguments) {
  if (linear.panels.defined()) {
    isa.product(arguments);
  } else {
    multiply_as_stored(isa, linear.stored, arguments);
  }
}

}  // namespace

const Isa* find(at::ScalarType dtype) {
  if (dtype == at::kFloat) {
    const Isa* best = avx512_float();
    return best != nullptr ? best : avx2_float();
  }
  if (dtype == at::kChar) {
    for (const Isa* isa : {avx512_vnni(), avx_vnni(), avx2_int8()}) {
      if (isa != nullptr) {
        return isa;
      }
    }
    return portable_int8();
  }
  return dtype == at::kBFloat16 ? avx512_bfloat16() : nullptr;
}

Linear pack(const Isa& isa, const at::Tensor& weight, const at::Tensor& bias, LargePages& pages) {
  const auto rows = [&](int64_t first, int64_t count) { return weight.narrow(0, first, count); };
  return pack(isa, weight.size(0), weight.size(1), rows, bias, pages);
}

Linear pack(const Isa& isa, int64_t outputs, int64_t inner, const RowsOfWeight& rows, const at::Tensor& bias,
            LargePages& pages) {
  Linear linear = make_room(isa, outputs, inner, isa.columns, pages);
  pack_panels(isa, linear, [&](int64_t first, int64_t count) {
    const int64_t row = first * isa.columns;
    return rows(row, std::min(count * isa.columns, outputs - row));
  });
  set_bias(linear, bias);
  return linear;
}

Linear pack_gated(const Isa& isa, const at::Tensor& weight, const at::Tensor& bias, LargePages& pages) {
  const int64_t outputs = weight.size(0) / 2, half = isa.columns / 2;
  Linear linear = make_room(isa, outputs, weight.size(1), half, pages);
  // both [2 * outputs, n] -> [count * columns, n]: of each panel from `first` on its gates, then what they let through.
  const auto by_turns = [&](const at::Tensor& both, int64_t first, int64_t count) {
    const int64_t row = first * half, rows = std::min(count * half, outputs - row);
    const auto part = [&](int64_t first_row) {
      const at::Tensor padded = at::zeros({count * half, both.size(1)}, both.options());
      padded.narrow(0, 0, rows).copy_(both.narrow(0, first_row, rows));
      return padded.view({count, half, both.size(1)});
    };
    return at::stack({part(row), part(outputs + row)}, 1).view({count * isa.columns, both.size(1)});
  };
  pack_panels(isa, linear, [&](int64_t first, int64_t count) { return by_turns(weight, first, count); });
  if (bias.defined()) {
    linear.bias.copy_(by_turns(bias.unsqueeze(1), 0, linear.bias.size(0) / isa.columns).squeeze(1));
  }
  return linear;
}

Linear keep_as_stored(const Isa& isa, const at::Tensor& weight, const at::Tensor& bias) {
  Linear linear = make_layer(isa, weight.size(0), weight.size(1), isa.columns);
  linear.stored = weight;
  set_bias(linear, bias);
  return linear;
}

void weights_of(const Isa& isa, const Linear& linear, int64_t output, float* weights) {
  if (linear.panels.defined()) {
    isa.unpack_row(linear.panels.data_ptr(), linear.inner, output, weights);
    return;
  }
  void* const panel = own_panel(isa, linear.inner);
  isa.pack(linear.stored.data_ptr<float>() + output * linear.inner, 1, linear.inner, panel);
  isa.unpack_row(panel, linear.inner, 0, weights);
}

void product(const Isa& isa, const Linear& linear, const Rows& a, Epilogue epilogue, void* out, int64_t out_stride) {
  ProductArguments arguments;
  thread_local std::vector<char> quantised;  // the threads that share the panels read the caller's
  if (isa.quantise == nullptr) {
    arguments.a = a.data;
    arguments.a_stride = a.stride;
  } else {
    arguments.a_stride = isa.quantised_row_bytes(linear.inner);
    quantised.resize(static_cast<size_t>(arguments.a_stride * a.count));
    isa.quantise(static_cast<const float*>(a.data), a.stride, a.count, linear.inner, quantised.data());
    arguments.a = quantised.data();
  }
  arguments.packed = linear.panels.defined() ? linear.panels.data_ptr() : nullptr;
  arguments.bias = linear.bias.data_ptr<float>();
  arguments.rows = a.count;
  arguments.inner = linear.inner;
  arguments.outputs = linear.outputs;
  arguments.last_panel = linear.bias.size(0) / isa.columns;
  arguments.epilogue = epilogue;
  arguments.out = out;
  arguments.out_stride = out_stride;
  if (a.count * linear.inner * linear.outputs < worth_sharing) {
    multiply(isa, linear, arguments);
    return;
  }
  run_tasks(arguments.last_panel, [&](int64_t first, int64_t last, int64_t /*thread*/) {
    ProductArguments part = arguments;
    part.first_panel = first;
    part.last_panel = last;
    multiply(isa, linear, part);
  });
}

void run_tasks(int64_t tasks, const ThreadPool::Work& work) {
  shared_pool().run(tasks, work);
}

}  // namespace demask::kernels::cpu
