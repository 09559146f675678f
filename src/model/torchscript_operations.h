// The operations of LibTorch that a TorchScript module's code may call.
#pragma once

#include <string_view>

namespace demask {

enum class OperationKind {
  computes,  // on tensors, numbers, texts and containers, or directs control
  draws,     // random numbers
  reports,   // prints or warns; a module computes the same without
  other,     // whatever else there is: files, other processes, Python, threads, seeds, settings, caches, memory that no
             // tensor owns, operators of libraries
};

// `operation` with its namespace, without its overload: "aten::add_". An operation in place (a name that ends in '_')
// is as the one that returns its result.
OperationKind kind_of_operation(std::string_view operation);

}  // namespace demask
