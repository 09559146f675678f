// Products of many rows through cuBLASLt, whose kernel for a shape is chosen here rather than by the library: the
// number of rows changes its choice, and with it the order in which a row's products are added. Of the kernels that the
// library offers for a number of rows, the first is taken whose sums have the bits of one reference kernel, the
// library's choice for many rows, on operands made to tell orders apart. A few rows of a wide matrix take demask's own
// kernel (kernels/cuda_stream_products.cu) where that has these bits too.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAGraphsC10Utils.h>
#include <cublasLt.h>
#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "kernels/cuda.h"
#include "kernels/cuda_tensors.h"

namespace demask::kernels::cuda {
namespace {

// The library that LibTorch has loaded; it is asked for by name, as only LibTorch knows where it lies.
class Library {
 public:
  static const Library& get() {
    static const Library library;
    return library;
  }
  bool complete() const { return complete_; }

#define DEMASK_CUBLASLT(name) decltype(&::cublasLt##name) name = nullptr
  DEMASK_CUBLASLT(Create);
  DEMASK_CUBLASLT(Matmul);
  DEMASK_CUBLASLT(MatmulAlgoGetHeuristic);
  DEMASK_CUBLASLT(MatmulDescCreate);
  DEMASK_CUBLASLT(MatmulDescDestroy);
  DEMASK_CUBLASLT(MatmulDescSetAttribute);
  DEMASK_CUBLASLT(MatmulPreferenceCreate);
  DEMASK_CUBLASLT(MatmulPreferenceDestroy);
  DEMASK_CUBLASLT(MatmulPreferenceSetAttribute);
  DEMASK_CUBLASLT(MatrixLayoutCreate);
  DEMASK_CUBLASLT(MatrixLayoutDestroy);
#undef DEMASK_CUBLASLT

 private:
  Library() {
    const std::string name = fmt::format("libcublasLt.so.{}", CUBLAS_VER_MAJOR);
    void* library = dlopen(name.c_str(), RTLD_LAZY | RTLD_NOLOAD);
    library = library != nullptr ? library : dlopen(name.c_str(), RTLD_LAZY);
    const auto find = [&](auto& function, const char* symbol) {
      function = library == nullptr
                     ? nullptr
                     : reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, symbol));
      return function != nullptr;
    };
    complete_ = find(Create, "cublasLtCreate") && find(Matmul, "cublasLtMatmul") &&
                find(MatmulAlgoGetHeuristic, "cublasLtMatmulAlgoGetHeuristic") &&
                find(MatmulDescCreate, "cublasLtMatmulDescCreate") &&
                find(MatmulDescDestroy, "cublasLtMatmulDescDestroy") &&
                find(MatmulDescSetAttribute, "cublasLtMatmulDescSetAttribute") &&
                find(MatmulPreferenceCreate, "cublasLtMatmulPreferenceCreate") &&
                find(MatmulPreferenceDestroy, "cublasLtMatmulPreferenceDestroy") &&
                find(MatmulPreferenceSetAttribute, "cublasLtMatmulPreferenceSetAttribute") &&
                find(MatrixLayoutCreate, "cublasLtMatrixLayoutCreate") &&
                find(MatrixLayoutDestroy, "cublasLtMatrixLayoutDestroy");
  }

  bool complete_ = false;
};

void check(cublasStatus_t status, const char* what) {
  TORCH_CHECK(status == CUBLAS_STATUS_SUCCESS, "cuBLASLt: ", what, " failed with status ", static_cast<int>(status));
}

cudaDataType_t type_of(at::ScalarType type) {
  return type == at::kHalf ? CUDA_R_16F : type == at::kBFloat16 ? CUDA_R_16BF : CUDA_R_32F;
}

template <typename Handle>
struct Destroy {
  cublasStatus_t (*destroy)(Handle);
  void operator()(Handle handle) const { static_cast<void>(destroy(handle)); }
};
template <typename Handle>
using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, Destroy<Handle>>;

// What cuBLASLt has to know of x [rows, inner] times weight [outputs, inner] transposed, as it counts: columns first.
struct Description {
  Owned<cublasLtMatmulDesc_t> operation;
  Owned<cublasLtMatrixLayout_t> weight, x, out;

  Description(at::ScalarType dtype, int64_t rows, int64_t inner, int64_t outputs, const void* bias)
      : operation(nullptr, {Library::get().MatmulDescDestroy}),
        weight(layout(dtype, inner, outputs)),
        x(layout(dtype, inner, rows)),
        out(layout(dtype, outputs, rows)) {
    const Library& library = Library::get();
    cublasLtMatmulDesc_t made = nullptr;
    check(library.MatmulDescCreate(&made, CUBLAS_COMPUTE_32F, CUDA_R_32F), "describing a product");
    operation.reset(made);
    const cublasOperation_t transposed = CUBLAS_OP_T;
    set(CUBLASLT_MATMUL_DESC_TRANSA, transposed);
    if (bias != nullptr) {
      const cublasLtEpilogue_t adds = CUBLASLT_EPILOGUE_BIAS;
      set(CUBLASLT_MATMUL_DESC_EPILOGUE, adds);
      set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    }
  }

 private:
  static Owned<cublasLtMatrixLayout_t> layout(at::ScalarType dtype, int64_t rows, int64_t columns) {
    cublasLtMatrixLayout_t made = nullptr;
    check(Library::get().MatrixLayoutCreate(&made, type_of(dtype), static_cast<uint64_t>(rows),
                                            static_cast<uint64_t>(columns), rows),
          "describing a matrix");
    return {made, {Library::get().MatrixLayoutDestroy}};
  }
  template <typename Value>
  void set(cublasLtMatmulDescAttributes_t attribute, const Value& value) {
    check(Library::get().MatmulDescSetAttribute(operation.get(), attribute, &value, sizeof value),
          "describing a product");
  }
};

using Kernel = cublasLtMatmulAlgo_t;

constexpr int64_t workspace_bytes = int64_t{32} << 20;  // as LibTorch gives it on Hopper

bool run(cublasLtHandle_t handle, const Description& of, const at::Tensor& x, const at::Tensor& weight,
         const at::Tensor& out, const Kernel& kernel, const at::Tensor& workspace) {
  const float one = 1, none = 0;
  return Library::get().Matmul(handle, of.operation.get(), &one, weight.const_data_ptr(), of.weight.get(),
                               x.const_data_ptr(), of.x.get(), &none, out.data_ptr(), of.out.get(), out.data_ptr(),
                               of.out.get(), &kernel, workspace.data_ptr(), workspace_bytes,
                               stream_of(x)) == CUBLAS_STATUS_SUCCESS;
}

// What the library would take, best first: kernels that add all of a row's products themselves.
std::vector<Kernel> kernels_for(cublasLtHandle_t handle, const Description& of) {
  constexpr int most = 24;
  const Library& library = Library::get();
  cublasLtMatmulPreference_t made = nullptr;
  check(library.MatmulPreferenceCreate(&made), "asking for kernels");
  const Owned<cublasLtMatmulPreference_t> preference(made, {library.MatmulPreferenceDestroy});
  const uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_NONE;
  const uint64_t workspace = workspace_bytes;
  check(library.MatmulPreferenceSetAttribute(made, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions,
                                             sizeof reductions),
        "asking for kernels");
  check(library.MatmulPreferenceSetAttribute(made, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace,
                                             sizeof workspace),
        "asking for kernels");
  std::array<cublasLtMatmulHeuristicResult_t, most> found{};
  int count = 0;
  if (library.MatmulAlgoGetHeuristic(handle, of.operation.get(), of.weight.get(), of.x.get(), of.out.get(),
                                     of.out.get(), made, most, found.data(), &count) != CUBLAS_STATUS_SUCCESS) {
    count = 0;
  }
  std::vector<Kernel> kernels;
  for (int i = 0; i < count; ++i) {
    if (found.at(static_cast<size_t>(i)).state == CUBLAS_STATUS_SUCCESS) {
      kernels.push_back(found.at(static_cast<size_t>(i)).algo);
    }
  }
  return kernels;
}

// [rows, inner] of values of many magnitudes. With `cancels` the second half of each row takes back the first, so that
// the sum over a row times one that repeats its first half is nothing but the roundings on the way to it, and these
// tell the order of the sum.
at::Tensor telling(int64_t rows, int64_t inner, const at::TensorOptions& options, bool cancels) {
  const int64_t half = inner / 2;
  const at::Tensor places =
      at::arange(rows * half, options.dtype(at::kDouble)).view({rows, half}) + (cancels ? 0.5 : 0);
  const at::Tensor first = places.mul(0.7391).sin() * places.mul(1.9134).sin().mul(4).exp2();
  const at::Tensor last = at::zeros({rows, inner - 2 * half}, options.dtype(at::kDouble));
  return at::cat({first, cancels ? -first : first, last}, 1).to(options.dtype());
}

// One device's kernels. Methods are called with the lock held.
class Kernels {
 public:
  explicit Kernels() { check(Library::get().Create(&handle_), "starting"); }
  cublasLtHandle_t handle() const { return handle_; }

  struct Shape {
    at::ScalarType dtype;
    int64_t inner, outputs;
    bool biased;
    bool operator<(const Shape& other) const {
      return std::tie(dtype, inner, outputs, biased) < std::tie(other.dtype, other.inner, other.outputs, other.biased);
    }
  };

  // Whether stream_product has the bits of the library's kernels for this shape.
  bool streams(const Shape& shape, const at::TensorOptions& options) {
    const auto found = streams_.find(shape);
    if (found != streams_.end()) {
      return found->second;
    }
    const bool nothing_compares = c10::cuda::currentStreamCaptureStatusMayInitCtx() != c10::cuda::CaptureStatus::None;
    return !nothing_compares && streams_.emplace(shape, has_bits_of_stream(shape, options)).first->second;
  }

  // For so many rows, best first.
  std::vector<Kernel> of(const Shape& shape, int64_t rows, const at::Tensor& bias, const at::TensorOptions& options) {
    int64_t together = least_rows;
    while (together < rows) {
      together *= 2;
    }
    const auto found = chosen_.find({shape, together});
    if (found != chosen_.end()) {
      return found->second;
    }
    if (c10::cuda::currentStreamCaptureStatusMayInitCtx() != c10::cuda::CaptureStatus::None) {
      // Nothing can be compared while a graph is recorded.
      return candidates(shape, reference_rows, pointer_or_none(bias));
    }
    return chosen_.emplace(std::pair(shape, together), choose(shape, together, options)).first->second;
  }

 private:
  static constexpr int64_t least_rows = 64, reference_rows = 4096;
  static constexpr int64_t tested_rows = 128, tested_outputs = 256;

  // Where the bias lies says how much of it a kernel may read at once.
  std::vector<Kernel> candidates(const Shape& shape, int64_t rows, const void* bias) const {
    return kernels_for(handle_, Description(shape.dtype, rows, shape.inner, shape.outputs, bias));
  }

  // Operands that tell orders of a sum apart, and what a kernel makes of them.
  struct Test {
    const Kernels& all;
    const Shape& shape;
    int64_t outputs;
    at::Tensor x, weight, workspace, bias, out;

    Test(const Kernels& kernels, const Shape& of, const at::TensorOptions& options)
        : all(kernels),
          shape(of),
          outputs(std::min(of.outputs, tested_outputs)),
          x(telling(tested_rows, of.inner, options, /*cancels=*/true)),
          weight(telling(outputs, of.inner, options, /*cancels=*/false)),
          workspace(at::empty({workspace_bytes}, options.dtype(at::kByte))),
          bias(at::zeros({outputs}, options)),
          out(at::zeros({tested_rows, outputs}, options)) {}

    bool run(const Kernel& kernel, bool biased) const {
      const Description description(shape.dtype, tested_rows, shape.inner, outputs,
                                    biased ? bias.const_data_ptr() : nullptr);
      return cuda::run(all.handle_, description, x, weight, out, kernel, workspace);
    }
  };

  bool has_bits_of_stream(const Shape& shape, const at::TensorOptions& options) const {
    const std::vector<Kernel> references = candidates(shape, reference_rows, nullptr);
    if (references.empty()) {
      return false;
    }
    const Test test(*this, shape, options);
    const at::Tensor own =
        stream_product(test.x.narrow(0, 0, least_rows), test.weight, shape.biased ? test.bias : at::Tensor());
    return test.run(references.front(), /*biased=*/false) && at::equal(own, test.out.narrow(0, 0, least_rows));
  }

  // The first with the sums of the reference of those for so many rows, and of those for as many as the reference's.
  std::vector<Kernel> choose(const Shape& shape, int64_t rows, const at::TensorOptions& options) const {
    const std::vector<Kernel> references = candidates(shape, reference_rows, nullptr);
    std::vector<Kernel> chosen;
    if (references.empty()) {
      return chosen;
    }
    const Test test(*this, shape, options);
    if (!test.run(references.front(), /*biased=*/false)) {
      return chosen;
    }
    const at::Tensor expected = test.out.clone();
    for (const int64_t number : {rows, reference_rows}) {
      for (const Kernel& kernel : candidates(shape, number, shape.biased ? test.bias.const_data_ptr() : nullptr)) {
        if (test.run(kernel, shape.biased) && at::equal(test.out, expected)) {
          chosen.push_back(kernel);
          break;
        }
      }
    }
    return chosen;
  }

  cublasLtHandle_t handle_ = nullptr;
  std::map<std::pair<Shape, int64_t>, std::vector<Kernel>> chosen_;
  std::map<Shape, bool> streams_;
};

std::mutex lock;

// Never destroyed: the library may be gone by then.
Kernels& kernels_of(at::Device device) {
  static auto& all = *new std::map<int, Kernels>();
  return all.try_emplace(device.index()).first->second;
}

}  // namespace

bool has_products_for(const at::Tensor& parameter) {
  return has_kernels_for(parameter) && Library::get().complete();
}

at::Tensor product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const at::Tensor own = x.contiguous();
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = weight.size(0);
  const at::Tensor out = at::empty(sizes, x.options());
  const int64_t inner = weight.size(1), rows = x.numel() / inner;
  if (rows == 0) {
    return out;
  }
  const std::lock_guard<std::mutex> guard(lock);
  Kernels& kernels = kernels_of(x.device());
  const Kernels::Shape shape{x.scalar_type(), inner, weight.size(0), bias.defined()};
  if (has_stream_product_for(weight, rows) && kernels.streams(shape, x.options())) {
    return stream_product(own, weight, bias);
  }
  const Description description(x.scalar_type(), rows, inner, weight.size(0), pointer_or_none(bias));
  const at::Tensor workspace = at::empty({workspace_bytes}, x.options().dtype(at::kByte));
  for (const Kernel& kernel : kernels.of(shape, rows, bias, x.options())) {
    if (run(kernels.handle(), description, own, weight, out, kernel, workspace)) {
      return out;
    }
  }
  // No kernel of the library's takes the shape in this way, whatever the number of rows.
  return at::linear(x, weight, bias);
}

}  // namespace demask::kernels::cuda
