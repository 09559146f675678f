#include "checkpoint/compare_tensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstddef>
#include <string_view>

#include "core/text.h"

namespace demask {
namespace {

class Complaints {
 public:
  explicit Complaints(const char* what) : what_(what) {}

  void add(const std::string& item) {
    if (++count_ <= shown) {
      items_ += (items_.empty() ? "" : ", ") + item;
    }
  }

  // " Missing: a, b and 3 more." or nothing.
  std::string text() const {
    if (count_ == 0) {
      return "";
    }
    return count_ <= shown ? fmt::format(" {}: {}.", what_, items_)
                           : fmt::format(" {}: {} and {} more.", what_, items_, count_ - shown);
  }

 private:
  static constexpr size_t shown = 8;
  const char* what_;
  std::string items_;
  size_t count_ = 0;
};

}  // namespace

std::string compare_tensors(const NamedShapes& expected, const ShapesByName& found) {
  Complaints missing("Missing");
  Complaints unexpected("Unexpected");
  Complaints misshapen("Misshapen");
  std::map<std::string_view, const std::vector<int64_t>*> shapes;
  for (const auto& [name, shape] : expected) {
    shapes.emplace(name, &shape);
    if (found.count(name) == 0) {
      missing.add(name);
    }
  }
  for (const auto& [name, sizes] : found) {
    const auto shape = shapes.find(name);
    if (shape == shapes.end()) {
      unexpected.add(quote(name));
    } else if (sizes != *shape->second) {
      misshapen.add(
          fmt::format("{} is [{}], expected [{}]", name, fmt::join(sizes, ", "), fmt::join(*shape->second, ", ")));
    }
  }
  return missing.text() + unexpected.text() + misshapen.text();
}

}  // namespace demask
