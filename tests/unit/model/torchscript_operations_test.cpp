#include "model/torchscript_operations.h"

#include <string>

#include "tests/support/catch.h"

using demask::kind_of_operation;
using demask::OperationKind;

TEST_CASE("Computing on tensors is allowed, in place too, and so are control and containers") {
  for (const std::string operation : {"aten::add",
                                      "aten::add_",
                                      "aten::__and__",
                                      "aten::einsum",
                                      "aten::embedding_bag",
                                      "aten::layer_norm",
                                      "aten::rms_norm",
                                      "aten::scaled_dot_product_attention",
                                      "aten::_scaled_dot_product_attention",
                                      "aten::masked_fill_",
                                      "aten::index_put_",
                                      "aten::tril",
                                      "aten::polar",
                                      "aten::view_as_complex",
                                      "aten::to",
                                      "aten::lstm",
                                      "prim::If",
                                      "prim::Loop",
                                      "prim::RaiseException",
                                      "prim::CallMethod",
                                      "prim::DictConstruct",
                                      "prim::is_cuda",
                                      "aten::dropout_",
                                      "aten::set_grad_enabled",
                                      "aten::format"}) {
    CAPTURE(operation);
    CHECK(kind_of_operation(operation) == OperationKind::computes);
  }
}

TEST_CASE("Random numbers and printing are told apart from computing") {
  for (const std::string operation : {"aten::rand", "aten::bernoulli_", "aten::multinomial", "aten::normal_"}) {
    CAPTURE(operation);
    CHECK(kind_of_operation(operation) == OperationKind::draws);
  }
  CHECK(kind_of_operation("prim::Print") == OperationKind::reports);
  CHECK(kind_of_operation("aten::warn") == OperationKind::reports);
}

TEST_CASE("Whatever is not known to compute is not allowed") {
  for (const std::string operation : {"aten::save",
                                      "aten::from_file",
                                      "aten::manual_seed",
                                      "aten::seed",
                                      "aten::as_strided",
                                      "aten::as_strided_",
                                      "aten::set_",
                                      "aten::resize_",
                                      "aten::_cufft_set_plan_cache_max_size",
                                      "aten::_sparse_coo_tensor_unsafe",
                                      "aten::_index_put_impl_",
                                      "aten::wait",
                                      "aten::_foobar",
                                      "aten::no_such_operation",
                                      "prim::PythonOp",
                                      "prim::IgnoredPythonOp",
                                      "prim::rpc_async",
                                      "prim::fork",
                                      "prim::TimePoint",
                                      "quantized::add",
                                      "c10d::send",
                                      "custom::add",
                                      "profiler::_record_function_enter",
                                      "add",
                                      "aten::",
                                      "::",
                                      ""}) {
    CAPTURE(operation);
    CHECK(kind_of_operation(operation) == OperationKind::other);
  }
}
