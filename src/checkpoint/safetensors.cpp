#include "checkpoint/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <optional>
#include <utility>

#include "checkpoint/file_kind.h"
#include "checkpoint/mapped_file.h"
#include "checkpoint/safetensors_header.h"
#include "core/error.h"
#include "core/text.h"

namespace demask {
namespace {

constexpr size_t length_bytes = 8;
constexpr uint64_t max_header_bytes = 100'000'000;  // the format's own bound

uint64_t header_length(std::string_view start) {
  uint64_t length = 0;
  for (size_t i = length_bytes; i-- > 0;) {
    length = length << 8 | static_cast<unsigned char>(start[i]);
  }
  return length;
}

std::optional<ElementType> read_type(std::string_view dtype) {
  if (dtype == "F32") {
    return ElementType::float32;
  }
  if (dtype == "F16") {
    return ElementType::float16;
  }
  if (dtype == "BF16") {
    return ElementType::bfloat16;
  }
  return std::nullopt;
}

}  // namespace

bool is_safetensors(const std::string& path) {
  std::array<char, length_bytes + 1> start{};
  std::ifstream file(path, std::ios::binary);
  return file.read(start.data(), start.size()) && start[length_bytes] == '{' &&
         header_length({start.data(), length_bytes}) <= max_header_bytes;
}

SafetensorsFile::SafetensorsFile(const std::string& path)
    : file_(std::make_shared<const MappedFile>(path, safetensors_kind)) {
  read_header();
  check_layout();
}

SafetensorsFile::~SafetensorsFile() = default;

const std::string& SafetensorsFile::path() const {
  return file_->path();
}

void SafetensorsFile::refuse(const std::string& why) const {
  fail(ExitCode::bad_input, "model file '{}': {}. Copy, download or save it again.", path(), why);
}

void SafetensorsFile::read_header() {
  const std::string_view bytes = file_->bytes();
  const uint64_t length = bytes.size() < length_bytes ? 0 : header_length(bytes);
  const bool begins = bytes.size() > length_bytes && bytes[length_bytes] == '{';
  if (!begins) {
    const auto known = recognise_file(bytes.substr(0, recognised_bytes), safetensors_kind);
    fail(ExitCode::bad_input, "model file '{}' is {}", path(),
         known ? *known : "not of safetensors: no header stands at its start. Copy or save it again.");
  }
  if (length > max_header_bytes) {
    refuse(fmt::format("its header claims {} bytes, more than the {} allowed", length, max_header_bytes));
  }
  if (length > bytes.size() - length_bytes) {
    refuse(fmt::format("its header claims {} bytes, but the file has {}", length, bytes.size()));
  }
  data_at_ = length_bytes + static_cast<size_t>(length);
  tensors_ = parse_safetensors_header(bytes.substr(length_bytes, static_cast<size_t>(length)),
                                      [&](const std::string& why) { refuse(why); });
}

// One tensor ends where the next begins, from the header to the end of the file.
void SafetensorsFile::check_layout() const {
  std::vector<std::pair<const SafetensorsEntry*, const std::string*>> order;
  for (const auto& [name, entry] : tensors_) {
    order.emplace_back(&entry, &name);
  }
  std::sort(order.begin(), order.end(), [](const auto& left, const auto& right) {
    return std::pair(left.first->begin, left.first->end) < std::pair(right.first->begin, right.first->end);
  });
  const size_t available = file_->bytes().size() - data_at_;
  size_t end = 0;
  std::string before = "the header";
  for (const auto& [entry, name] : order) {
    if (entry->begin < end) {
      refuse(fmt::format("the tensors {} and {} overlap at byte {} of its data", before, quote(*name), entry->begin));
    }
    if (entry->begin > end) {
      refuse(fmt::format("{} bytes between {} and the tensor {} belong to none", entry->begin - end, before,
                         quote(*name)));
    }
    end = entry->end;
    if (end > available) {
      refuse(fmt::format("the tensor {} ends at byte {} of its data, but the file holds {}", quote(*name), end,
                         available));
    }
    before = quote(*name);
  }
  if (end != available) {
    refuse(fmt::format("{} bytes follow its last tensor", available - end));
  }
}

std::string_view SafetensorsFile::bytes_of(const SafetensorsEntry& entry) const {
  return file_->bytes().substr(data_at_ + entry.begin, entry.end - entry.begin);
}

ElementType SafetensorsFile::element_type(const std::string& name) const {
  const SafetensorsEntry& entry = tensors_.at(name);
  const std::optional<ElementType> type = read_type(entry.dtype);
  if (!type) {
    fail(ExitCode::bad_input,
         "model file '{}': the tensor {} is stored as {}; demask reads F32, F16 and BF16. Save the model in one of "
         "these.",
         path(), quote(name), entry.dtype);
  }
  return *type;
}

void SafetensorsFile::drop(const std::string& name) const noexcept {
  if (const auto entry = tensors_.find(name); entry != tensors_.end()) {
    file_->drop(bytes_of(entry->second));
  }
}

}  // namespace demask
