// LibTorch's tensor by its name alone, for headers that those who know no LibTorch include too.
#pragma once

namespace at {
class Tensor;  // NOLINT(bugprone-forward-declaration-namespace): LibTorch itself declares another
}
