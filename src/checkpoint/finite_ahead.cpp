#include "checkpoint/finite_ahead.h"

#include <algorithm>
#include <exception>
#include <map>
#include <vector>

#include "checkpoint/finite_floats.h"
#include "core/descriptor.h"

namespace demask {
namespace {

// Copied rather than looked at where it is mapped: a mapping's page faults would wait for LibTorch's own, and its pages
// would count as memory of the process.
bool is_finite(const MappedFile& file, uint64_t begin, uint64_t count, const std::atomic<bool>& stopped) {
  constexpr uint64_t at_once = uint64_t{1} << 16;  // numbers, which stay in the cache
  std::vector<float> numbers(std::min(at_once, count));
  for (uint64_t done = 0; done < count; done += numbers.size()) {
    numbers.resize(std::min(at_once, count - done));
    if (stopped ||
        !read_whole(file.descriptor(), reinterpret_cast<char*>(numbers.data()), numbers.size() * sizeof(float),
                    begin + done * sizeof(float)) ||
        !are_below(numbers.data(), static_cast<int64_t>(numbers.size()), infinite_in_bfloat16_bits)) {
      return false;
    }
  }
  return true;
}

}  // namespace

void FiniteAhead::look_through(const NanoGptFile& file, uint64_t most_bytes) {
  const MappedFile& mapped = *file.mapped();
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    looked_at_ = mapped.identity();
  }
  std::map<std::string, bool> storages;  // finite or not
  for (const auto& [name, stored] : file.tensors()) {
    const uint64_t bytes = static_cast<uint64_t>(stored.storage_numel) * sizeof(float);
    if (stored.dtype != ElementType::float32) {
      continue;
    }
    auto storage = storages.find(stored.storage);
    if (storage == storages.end()) {
      if (bytes > most_bytes) {
        return;
      }
      most_bytes -= bytes;
      try {
        const uint64_t begin = file.storage_begin(name);
        storage = storages.emplace(stored.storage, is_finite(mapped, begin, bytes / sizeof(float), stopped_)).first;
      } catch (const std::exception&) {  // told by whoever makes the model
        return;
      }
    }
    if (storage->second) {
      const std::lock_guard<std::mutex> lock(mutex_);
      finite_.insert(name);
    }
  }
}

bool FiniteAhead::knows(const std::string& weight, const MappedFile& file) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return looked_at_ == file.identity() && finite_.count(weight) > 0;
}

}  // namespace demask
