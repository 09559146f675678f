#include "checkpoint/archive.h"

#include <algorithm>
#include <charconv>
#include <exception>
#include <optional>
#include <string_view>
#include <utility>

#include "checkpoint/file_kind.h"
#include "checkpoint/mapped_file.h"
#include "checkpoint/zip_directory.h"
#include "core/descriptor.h"
#include "core/error.h"
#include "core/text.h"

namespace demask {
namespace {

// Says what a file that does not start as a zip is, as far as its first bytes tell.
void require_zip(int file, uint64_t file_size, const std::string& path) {
  std::string start(std::min<size_t>(recognised_bytes, static_cast<size_t>(file_size)), '\0');
  if (!read_whole(file, start.data(), start.size(), 0)) {
    fail(ExitCode::bad_input, "checkpoint '{}' cannot be read: {}.", path, last_error());
  }
  if (start.compare(0, 4, "PK\3\4") == 0) {
    return;
  }
  if (const auto known = recognise_file(start, checkpoint_file)) {
    fail(ExitCode::bad_input, "'{}' is not a checkpoint as demask reads it: it is {}", path, *known);
  }
  if (start[0] == '\x80') {
    fail(ExitCode::bad_input,
         "'{}' is not a checkpoint: it looks like a pickle, and torch.save writes zip files. Save it with torch.save.",
         path);
  }
  fail(ExitCode::bad_input,
       "'{}' is not a checkpoint: torch.save and torch.jit.save write zip files, and this is not one. {}", path,
       checkpoint_file.advice);
}

// The versions of the form that PyTorch 1.6 to this day reads; the later ones are TorchScript's.
void check_version(const std::string& version, const std::string& path) {
  constexpr int oldest = 1, newest = 10;
  const size_t digits = std::min(version.find_first_not_of("0123456789"), version.size());
  int number = 0;
  std::from_chars(version.data(), version.data() + digits, number);
  if (number < oldest || number > newest) {
    fail(ExitCode::bad_input,
         "checkpoint '{}' is of version {} of torch.save's form; demask reads {} to {}. Save it again with the PyTorch "
         "that demask was built on.",
         path, quote(shorten(version.substr(0, version.find('\n')), 20)), oldest, newest);
  }
}

// offset + sum((size - 1) * stride) + 1, the elements of the storage that are reached, or nothing where that overflows.
std::optional<int64_t> extent(const StoredTensor& tensor) {
  int64_t last = tensor.offset;
  for (size_t i = 0; i < tensor.sizes.size(); ++i) {
    int64_t step = 0;
    if (__builtin_mul_overflow(tensor.sizes[i] - 1, tensor.strides[i], &step)) {
      return std::nullopt;
    }
    if (__builtin_add_overflow(last, step, &last)) {
      return std::nullopt;
    }
  }
  int64_t reached = 0;
  if (__builtin_add_overflow(last, 1, &reached)) {
    return std::nullopt;
  }
  return reached;
}

std::optional<int64_t> element_count(const StoredTensor& tensor) {
  int64_t count = 1;
  for (const int64_t size : tensor.sizes) {
    if (__builtin_mul_overflow(count, size, &count)) {
      return std::nullopt;
    }
  }
  return count;
}

bool has_negative(const StoredTensor& tensor) {
  const auto negative = [](int64_t number) { return number < 0; };
  return tensor.offset < 0 || tensor.storage_numel < 0 ||
         std::any_of(tensor.sizes.begin(), tensor.sizes.end(), negative) ||
         std::any_of(tensor.strides.begin(), tensor.strides.end(), negative);
}

}  // namespace

struct Archive::Records {
  // Small records are read, tensors looked at where they are mapped.
  std::shared_ptr<const MappedFile> file;
  ZipRecords directory;

  uint64_t file_size() const { return file->bytes().size(); }

  // Null where there is no such record.
  const ZipRecord* find(const std::string& name) const {
    const auto entry = directory.find(zip_name(name));
    return entry == directory.end() ? nullptr : &entry->second;
  }

  const ZipRecord& get(const std::string& name, const std::string& path) const {
    const ZipRecord* record = find(name);
    if (record == nullptr) {
      fail(ExitCode::bad_input, "checkpoint '{}' has no record {}.", path, quote(name));
    }
    if (record->repeated) {
      fail(ExitCode::bad_input, "checkpoint '{}' holds the record {} twice.", path, quote(name));
    }
    if (record->compressed) {
      fail(ExitCode::bad_input, "checkpoint '{}': the record {} is compressed; torch.save stores it plain.", path,
           quote(name));
    }
    return *record;
  }
};

Archive::Archive(const std::string& path) : path_(path) {
  records_ = std::make_unique<Records>();
  records_->file = std::make_shared<const MappedFile>(path, checkpoint_file);
  const int file = records_->file->descriptor();
  require_zip(file, records_->file_size(), path);
  records_->directory = read_zip_directory(file, records_->file_size(), path);
  const char* const version = has(".data/version") ? ".data/version" : "version";
  if (!has(version)) {
    fail(ExitCode::bad_input, "checkpoint '{}' is a zip file that torch.save did not write: it has no version record.",
         path);
  }
  check_version(read(version), path);
  if (has("byteorder") && read("byteorder") != "little") {
    fail(ExitCode::bad_input,
         "checkpoint '{}' was saved on a big-endian machine; save it again on a little-endian one.", path);
  }
}

Archive::~Archive() = default;

bool Archive::is_torchscript() const {
  const auto code = records_->directory.lower_bound("code/");
  const bool has_code = code != records_->directory.end() && code->first.compare(0, 5, "code/") == 0;
  return has_code || records_->find("constants.pkl") != nullptr;
}

bool Archive::has(const std::string& record) const {
  return records_->find(record) != nullptr;
}

std::string Archive::read(const std::string& record) const {
  std::string bytes(static_cast<size_t>(records_->get(record, path_).size), '\0');
  read(record, bytes.data(), bytes.size());
  return bytes;
}

void Archive::read(const std::string& record, char* bytes, size_t count) const {
  const std::string_view there = bytes_of(record);
  const size_t offset = static_cast<size_t>(there.data() - records_->file->bytes().data());
  if (count > there.size() || !read_whole(records_->file->descriptor(), bytes, count, offset)) {
    fail(ExitCode::bad_input, "checkpoint '{}': the record {} cannot be read: it has fewer bytes than it should.",
         path_, quote(record));
  }
}

std::string_view Archive::bytes_of(const std::string& name) const {
  const ZipRecord& record = records_->get(name, path_);
  const std::optional<uint64_t> begin = begin_of(record, records_->file->descriptor(), records_->file_size());
  if (!begin) {
    fail(ExitCode::bad_input,
         "checkpoint '{}': the record {} cannot be read: it is not where the directory says. Copy or save the file "
         "again.",
         path_, quote(name));
  }
  return records_->file->bytes().substr(static_cast<size_t>(*begin), static_cast<size_t>(record.size));
}

uint64_t Archive::storage_begin(const StoredTensor& tensor, const std::string& name) const {
  check(tensor, name);
  return static_cast<uint64_t>(bytes_of("data/" + tensor.storage).data() - records_->file->bytes().data());
}

std::shared_ptr<const MappedFile> Archive::file() const {
  return records_->file;
}

void Archive::drop(const StoredTensor& tensor) const noexcept {
  try {
    records_->file->drop(bytes_of("data/" + tensor.storage));
  } catch (const std::exception&) {  // a record that cannot be read was not looked at
  }
}

void Archive::check(const StoredTensor& tensor, const std::string& name) const {
  const auto refuse = [&](const std::string& why) {
    fail(ExitCode::bad_input, "checkpoint '{}': the tensor {} {}.", path_, quote(name), why);
  };
  if (tensor.sizes.size() != tensor.strides.size() || has_negative(tensor)) {
    refuse("has a shape that no tensor has");
  }
  const ZipRecord* record = records_->find("data/" + tensor.storage);
  if (record == nullptr) {
    return refuse(fmt::format("refers to the storage {}, which is not in the file", quote(tensor.storage)));
  }
  const auto available = static_cast<int64_t>(record->size / demask::bytes_of(tensor.dtype));
  if (tensor.storage_numel > available) {
    refuse(fmt::format("claims a storage of {} elements, but its record holds {}", tensor.storage_numel, available));
  }
  const std::optional<int64_t> count = element_count(tensor);
  if (count == 0) {
    return;
  }
  const std::optional<int64_t> reached = extent(tensor);
  if (!count || !reached || *reached > tensor.storage_numel || *count > tensor.storage_numel) {
    refuse(fmt::format("reaches past the end of its storage of {} elements", tensor.storage_numel));
  }
}

}  // namespace demask
