#include "checkpoint/safetensors_header.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "checkpoint/compare_tensors.h"
#include "core/json.h"
#include "core/text.h"

namespace demask {
namespace {

using nlohmann::json;

constexpr std::string_view metadata_name = "__metadata__";

constexpr std::array<std::pair<std::string_view, size_t>, 14> dtypes{{{"BOOL", 1},
                                                                      {"U8", 1},
                                                                      {"I8", 1},
                                                                      {"F8_E4M3", 1},
                                                                      {"F8_E5M2", 1},
                                                                      {"I16", 2},
                                                                      {"U16", 2},
                                                                      {"F16", 2},
                                                                      {"BF16", 2},
                                                                      {"I32", 4},
                                                                      {"U32", 4},
                                                                      {"F32", 4},
                                                                      {"F64", 8},
                                                                      {"I64", 8}}};

// Takes the header's values as the parser meets them, so that nothing is built of what does not belong there.
class HeaderReader : public json::json_sax_t {
 public:
  explicit HeaderReader(const RefuseHeader& refuse) : refuse_(refuse) {}

  std::map<std::string, SafetensorsEntry> entries;

  bool start_object(size_t) override {
    if (place_ == Place::outside) {
      place_ = Place::names;
    } else if (place_ == Place::names && awaits_value_) {
      place_ = name_ == metadata_name ? Place::metadata : Place::fields;
      awaits_value_ = false;
    } else {
      unexpected("an object");
    }
    return true;
  }

  bool key(std::string& key) override {
    if (place_ == Place::names) {
      const bool fresh = key == metadata_name ? !std::exchange(has_metadata_, true) : entries.count(key) == 0;
      if (!fresh) {
        say(fmt::format("the name {} stands twice in its header", quote(key)));
      }
      name_ = key;
      entry_ = {};
      has_dtype_ = has_shape_ = has_offsets_ = false;
      awaits_value_ = true;
    } else if (place_ == Place::fields) {
      bool* seen = key == "dtype"          ? &has_dtype_
                   : key == "shape"        ? &has_shape_
                   : key == "data_offsets" ? &has_offsets_
                                           : nullptr;
      if (seen == nullptr || std::exchange(*seen, true)) {
        say(fmt::format("the tensor {} has {} {}", quote(name_), seen == nullptr ? "the unknown field" : "twice",
                        quote(key)));
      }
      field_ = key;
    }
    return true;
  }

  bool string(std::string& text) override {
    if (place_ == Place::metadata) {
      return true;
    }
    if (place_ != Place::fields || field_ != "dtype") {
      unexpected("a string");
    }
    if (element_bytes(text) == 0) {
      say(fmt::format("the tensor {} has the unknown dtype {}", quote(name_), quote(text)));
    }
    entry_.dtype = text;
    return true;
  }

  bool start_array(size_t) override {
    if (place_ != Place::fields || field_ == "dtype") {
      unexpected("an array");
    }
    place_ = Place::numbers;
    numbers_.clear();
    return true;
  }

  bool number_unsigned(json::number_unsigned_t number) override {
    const size_t most = field_ == "shape" ? max_dimensions : 2;
    if (place_ != Place::numbers || number > std::numeric_limits<int64_t>::max() || numbers_.size() == most) {
      unexpected("a number");
    }
    numbers_.push_back(static_cast<int64_t>(number));
    return true;
  }

  bool end_array() override {
    place_ = Place::fields;
    if (field_ == "shape") {
      entry_.shape = numbers_;
    } else if (numbers_.size() == 2) {
      entry_.begin = static_cast<size_t>(numbers_[0]);
      entry_.end = static_cast<size_t>(numbers_[1]);
    } else {
      say(fmt::format("the tensor {} has {} data_offsets, not 2", quote(name_), numbers_.size()));
    }
    return true;
  }

  bool end_object() override {
    if (place_ == Place::fields) {
      finish_entry();
    }
    place_ = place_ == Place::names ? Place::done : Place::names;
    return true;
  }

  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("a boolean"); }
  bool number_integer(json::number_integer_t) override { return unexpected("a negative number"); }
  bool number_float(json::number_float_t, const std::string&) override {
    return unexpected("a number that is no 64-bit integer");
  }
  bool binary(json::binary_t&) override { return unexpected("bytes"); }

  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception& error) override {
    say(fmt::format("its header is not JSON: {}", json_error_reason(error.what())));
    return false;
  }

 private:
  enum class Place { outside, names, metadata, fields, numbers, done };

  void say(const std::string& why) const {
    refuse_(why);
    throw std::logic_error("a refusal must throw");
  }

  bool unexpected(const char* what) const {
    const std::string where = name_.empty() ? std::string("its header") : fmt::format("the header at {}", quote(name_));
    say(fmt::format("{} has {} where none belongs, or one that is too large or too many", where, what));
    return false;
  }

  void finish_entry() {
    if (!has_dtype_ || !has_shape_ || !has_offsets_) {
      say(fmt::format("the tensor {} lacks its {}", quote(name_),
                      !has_dtype_   ? "dtype"
                      : !has_shape_ ? "shape"
                                    : "data_offsets"));
    }
    int64_t bytes = static_cast<int64_t>(element_bytes(entry_.dtype));
    bool overflows = false;
    bool empty = false;
    for (const int64_t size : entry_.shape) {
      empty = empty || size == 0;
      overflows = overflows || __builtin_mul_overflow(bytes, size, &bytes);
    }
    if (overflows && !empty) {
      say(fmt::format("the tensor {} of shape [{}] has more bytes than any file", quote(name_),
                      fmt::join(entry_.shape, ", ")));
    }
    bytes = empty ? 0 : bytes;
    if (entry_.end < entry_.begin || entry_.end - entry_.begin != static_cast<size_t>(bytes)) {
      say(fmt::format("the tensor {} of dtype {} and shape [{}] has {} bytes, but its data_offsets are [{}, {}]",
                      quote(name_), entry_.dtype, fmt::join(entry_.shape, ", "), bytes, entry_.begin, entry_.end));
    }
    entries.emplace(std::move(name_), std::move(entry_));
  }

  const RefuseHeader& refuse_;
  Place place_ = Place::outside;
  bool awaits_value_ = false;
  bool has_metadata_ = false;
  bool has_dtype_ = false;
  bool has_shape_ = false;
  bool has_offsets_ = false;
  std::string name_;
  std::string field_;
  std::vector<int64_t> numbers_;
  SafetensorsEntry entry_;
};

}  // namespace

size_t element_bytes(std::string_view dtype) {
  for (const auto& [name, bytes] : dtypes) {
    if (name == dtype) {
      return bytes;
    }
  }
  return 0;
}

std::map<std::string, SafetensorsEntry> parse_safetensors_header(std::string_view text, const RefuseHeader& refuse) {
  HeaderReader reader(refuse);
  json::sax_parse(text.begin(), text.end(), &reader);
  return std::move(reader.entries);
}

}  // namespace demask
