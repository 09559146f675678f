#include "kernels/cpu.h"

#include <ATen/ATen.h>

#include "kernels/threads.h"

namespace demask::kernels::cpu {
namespace {

constexpr int64_t worth_sharing = 1 << 16;  // multiply-adds, some microseconds: what waking a thread costs

}  // namespace

const Isa* find(at::ScalarType dtype) {
  if (dtype == at::kFloat) {
    const Isa* best = avx512_float();
    return best != nullptr ? best : avx2_float();
  }
  return dtype == at::kBFloat16 ? avx512_bfloat16() : nullptr;
}

Linear pack(const Isa& isa, const at::Tensor& weight, const at::Tensor& bias) {
  Linear linear;
  linear.outputs = weight.size(0);
  linear.inner = weight.size(1);
  const int64_t padded = (linear.outputs + isa.columns - 1) / isa.columns * isa.columns;
  const at::Tensor single = weight.to(at::kFloat).contiguous();
  linear.panels = at::empty({padded * (linear.inner + linear.inner % 2) * isa.element_bytes}, at::kByte);
  isa.pack(single.data_ptr<float>(), linear.outputs, linear.inner, linear.panels.data_ptr());
  linear.bias = at::zeros({padded}, at::kFloat);
  if (bias.defined()) {
    linear.bias.narrow(0, 0, linear.outputs).copy_(bias);
  }
  return linear;
}

void product(const Isa& isa, const Linear& linear, const Rows& a, Epilogue epilogue, void* out, int64_t out_stride) {
  ProductArguments arguments;
  arguments.a = a.data;
  arguments.a_stride = a.stride;
  arguments.packed = linear.panels.data_ptr();
  arguments.bias = linear.bias.data_ptr<float>();
  arguments.rows = a.count;
  arguments.inner = linear.inner;
  arguments.outputs = linear.outputs;
  arguments.last_panel = linear.bias.size(0) / isa.columns;
  arguments.epilogue = epilogue;
  arguments.out = out;
  arguments.out_stride = out_stride;
  if (a.count * linear.inner * linear.outputs < worth_sharing) {
    isa.product(arguments);
    return;
  }
  run_tasks(arguments.last_panel, [&](int64_t first, int64_t last, int64_t /*thread*/) {
    ProductArguments part = arguments;
    part.first_panel = first;
    part.last_panel = last;
    isa.product(part);
  });
}

void run_tasks(int64_t tasks, const ThreadPool::Work& work) {
  shared_pool().run(tasks, work);
}

}  // namespace demask::kernels::cpu
