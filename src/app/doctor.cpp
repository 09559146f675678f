#include "app/doctor.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>
#include <link.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <system_error>

#include "app/build_description.h"
#include "core/text.h"
#include "engine/resolve.h"
#include "kernels/cpu.h"
#include "kernels/threads.h"
#include "model/device.h"

namespace demask {
namespace {

constexpr int64_t size = 768;        // of the square matrices on the CPU
constexpr int64_t cuda_size = 8192;  // and on CUDA
constexpr double gib = 1024.0 * 1024.0 * 1024.0;

std::string line(std::string_view label, std::string_view text) {
  return fmt::format("{:<14}  {}\n", label, printable(text));
}

// What follows `label` in the first line of a file that begins with it; empty where there is none.
std::string line_of(const std::string& path, std::string_view label) {
  std::ifstream file(path);
  for (std::string text; std::getline(file, text);) {
    if (starts_with(text, label)) {
      const size_t at = text.find_first_not_of(": \t", label.size());
      return at == std::string::npos ? "" : text.substr(at);
    }
  }
  return {};
}

std::vector<std::string> loaded_libraries() {
  std::vector<std::string> libraries;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* list) {
        if (info->dlpi_name != nullptr && *info->dlpi_name != '\0') {
          std::error_code unknown;
          const auto file = std::filesystem::canonical(info->dlpi_name, unknown);
          static_cast<std::vector<std::string>*>(list)->push_back(unknown ? info->dlpi_name : file.string());
        }
        return 0;
      },
      &libraries);
  return libraries;
}

// GFLOP/s of `product`, the best of what fits a tenth of a second: the first ones start threads and clocks.
double rate(int64_t edge, const std::function<void()>& product) {
  using Clock = std::chrono::steady_clock;
  constexpr double budget_s = 0.1;
  double best_s = 1e9;
  product();
  const auto begin = Clock::now();
  do {
    const auto start = Clock::now();
    product();
    best_s = std::min(best_s, std::chrono::duration<double>(Clock::now() - start).count());
  } while (std::chrono::duration<double>(Clock::now() - begin).count() < budget_s);
  return 2.0 * static_cast<double>(edge) * static_cast<double>(edge) * static_cast<double>(edge) / best_s / 1e9;
}

double libtorch_rate(at::Device device, at::ScalarType dtype, int64_t edge) {
  const at::Tensor a = at::ones({edge, edge}, at::device(device).dtype(dtype));
  return rate(edge, [&] {
    at::mm(a, a);
    synchronize(device);
  });
}

// Of demask's own kernels in `dtype`; none where this machine has none.
std::optional<double> own_rate(at::ScalarType dtype) {
  const kernels::cpu::Isa* const isa = kernels::cpu::find(dtype);
  if (isa == nullptr) {
    return std::nullopt;
  }
  const at::ScalarType elements = isa->element_bytes == 2 ? at::kBFloat16 : at::kFloat;
  const at::Tensor a = at::ones({size, size}, elements);
  at::Tensor out = at::empty({size, size}, elements);
  kernels::cpu::LargePages pages;
  const kernels::cpu::Linear linear = kernels::cpu::pack(*isa, a, {}, pages);
  return rate(size, [&] {
    kernels::cpu::product(*isa, linear, {a.data_ptr(), size, size}, kernels::cpu::Epilogue::store, out.data_ptr(),
                          size);
  });
}

std::string cpu_products() {
  std::string text = fmt::format("float32 {:.0f} GFLOP/s by LibTorch", libtorch_rate(at::kCPU, at::kFloat, size));
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kChar}) {
    if (const std::optional<double> own = own_rate(dtype)) {
      text += fmt::format(", {} {:.0f} by demask's kernels", dtype_name(dtype), *own);
    }
  }
  return text;
}

std::string instructions() {
  std::string names;
  for (const kernels::cpu::Isa* isa :
       {kernels::cpu::avx2_float(), kernels::cpu::avx512_float(), kernels::cpu::avx512_bfloat16(),
        kernels::cpu::avx_vnni(), kernels::cpu::avx512_vnni()}) {
    names += isa == nullptr ? "" : (names.empty() ? "" : ", ") + std::string(isa->name);
  }
  return names.empty() ? "none that demask has kernels for: LibTorch's operations take their place"
                       : names + ", as demask's kernels use them";
}

std::string device_lines(int64_t devices) {
  std::string text = line(
      "cpu", fmt::format("{:.1f} GiB of memory available", static_cast<double>(host_memory_available_bytes()) / gib));
  for (int64_t i = 0; i < devices; ++i) {
    const at::Device device(at::kCUDA, static_cast<at::DeviceIndex>(i));
    const double free = static_cast<double>(free_memory_bytes(device)) / gib;
    const at::ScalarType dtype = multiplies_bfloat16(device) ? at::kBFloat16 : at::kHalf;
    text += line(device.str(), fmt::format("{:.1f} GiB of memory free, {} products {:.0f} TFLOP/s", free,
                                           dtype_name(dtype), libtorch_rate(device, dtype, cuda_size) / 1000));
  }
  return text;
}

std::string advice(const Blas& blas, bool has_gpu, int64_t devices) {
  std::string text;
  const auto add = [&](std::string_view what) { text += line(text.empty() ? "for more" : "", what); };
  if (has_gpu && devices == 0) {
    add("There is an NVIDIA GPU, and this demask sees none: build it with a LibTorch that has CUDA (README, CUDA).");
  }
  if (!blas.shares_threads) {
    add("A BLAS that shares LibTorch's threads makes its products faster: apt install libopenblas0-openmp.");
  }
  if (kernels::thread_count() < kernels::usable_cores()) {
    add(fmt::format("OMP_NUM_THREADS asks for fewer threads than there are cores: set it to {}.",
                    kernels::usable_cores()));
  }
  return text.empty() ? line("for more", "nothing to install") : text;
}

}  // namespace

Blas find_blas(const std::vector<std::string>& loaded_libraries) {
  const auto name_of_file = [](const std::string& path) { return path.substr(path.rfind('/') + 1); };
  for (const std::string_view part : {"mkl", "openblas", "blis", "blas"}) {
    for (const std::string& path : loaded_libraries) {
      if (name_of_file(path).find(part) != std::string::npos) {
        const bool on_openmp =
            path.find("openmp") != std::string::npos || path.find("libopenblaso") != std::string::npos;
        return {path, part == "mkl" || on_openmp};
      }
    }
  }
  // LibTorch of PyTorch's own builds has MKL inside.
  return {"", at::hasMKL()};
}

std::string doctor_text() {
  const c10::InferenceMode inference;
  kernels::settle_threads();
  const int64_t devices = cuda_device_count();
  const Blas blas = find_blas(loaded_libraries());
  const std::string driver = line_of("/proc/driver/nvidia/version", "NVRM version");
  const char* const asked = std::getenv("OMP_NUM_THREADS");
  std::string text = line("demask", DEMASK_VERSION) + line("build", build_description());
  text += line("LibTorch", libtorch_description());
  text += line("driver", driver.empty() ? "no NVIDIA driver is loaded" : driver);
  text += device_lines(devices);
  text += line("processor", line_of("/proc/cpuinfo", "model name"));
  text += line("instructions", instructions());
  text += line("threads", fmt::format("{} on {} usable cores{}", kernels::thread_count(), kernels::usable_cores(),
                                      asked == nullptr ? "" : fmt::format(", OMP_NUM_THREADS={}", asked)));
  text += line("BLAS", blas.library.empty() ? (at::hasMKL() ? "MKL, inside LibTorch" : "not known") : blas.library);
  text += line("products", cpu_products());
  return text + advice(blas, !driver.empty(), devices);
}

}  // namespace demask
