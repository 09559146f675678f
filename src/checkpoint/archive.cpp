#include "checkpoint/archive.h"

#include <ATen/Functions.h>
#include <c10/util/Exception.h>
#include <caffe2/serialize/inline_container.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <map>
#include <optional>
#include <string_view>
#include <tuple>
#include <utility>

#include "checkpoint/file_kind.h"
#include "checkpoint/pickle.h"
#include "core/error.h"
#include "core/text.h"

namespace demask {
namespace {

struct Record {
  uint64_t size = 0;  // uncompressed, as the directory claims
  bool compressed = false;
  bool repeated = false;  // the name occurs again, perhaps in other case: LibTorch's reader ignores case
};

// --- The zip directory. LibTorch's reader allocates whatever size a record claims and has no function that tells it,
// so the claims are read and checked here first. Layout: APPNOTE.TXT 6.3, sections 4.3.12 to 4.3.16 and 4.5.3. ---

constexpr uint64_t end_size = 22;
constexpr uint64_t end64_locator_size = 20;
constexpr uint64_t end64_size = 56;
constexpr uint64_t entry_size = 46;
constexpr uint64_t local_header_size = 30;
constexpr uint64_t max_comment = 0xffff;
constexpr uint64_t max_directory = uint64_t{64} << 20;
constexpr uint64_t max_marker = 4096;  // bytes in a record that only marks the format

uint64_t number_at(std::string_view bytes, uint64_t offset, unsigned width) {
  uint64_t number = 0;
  for (unsigned i = width; i-- > 0;) {
    number = number << 8 | static_cast<unsigned char>(bytes[static_cast<size_t>(offset) + i]);
  }
  return number;
}

std::string lower_case(std::string text) {
  for (char& letter : text) {
    if (letter >= 'A' && letter <= 'Z') {
      letter = static_cast<char>(letter - 'A' + 'a');
    }
  }
  return text;
}

// Records whose content LibTorch or this file reads for the format alone.
bool is_marker(const std::string& name) {
  return name == "version" || name == "byteorder" || name.compare(0, 1, ".") == 0;
}

class ZipDirectory {
 public:
  ZipDirectory(std::ifstream& file, uint64_t file_size, const std::string& path)
      : file_(file), file_size_(file_size), path_(path) {
    locate();
    const std::string directory = bytes(directory_offset_, directory_size_);
    uint64_t offset = 0;
    for (uint64_t i = 0; i < entries_; ++i) {
      offset += read_entry(std::string_view(directory).substr(static_cast<size_t>(offset)));
    }
    if (records.empty()) {
      damaged("it holds no records");
    }
  }

  std::map<std::string, Record> records;  // by lower-case name, without the folder

 private:
  [[noreturn]] void damaged(const std::string& why) const {
    fail(ExitCode::bad_input, "checkpoint '{}' is a damaged or truncated zip file: {}. Copy or save it again.", path_,
         why);
  }

  std::string bytes(uint64_t offset, uint64_t count) {
    if (offset > file_size_ || count > file_size_ - offset) {
      damaged("its directory lies outside the file");
    }
    std::string buffer(static_cast<size_t>(count), '\0');
    file_.seekg(static_cast<std::streamoff>(offset));
    if (!file_.read(buffer.data(), static_cast<std::streamsize>(count))) {
      damaged("it cannot be read");
    }
    return buffer;
  }

  void locate() {
    const uint64_t tail_size = std::min(file_size_, end_size + max_comment);
    const std::string tail = bytes(file_size_ - tail_size, tail_size);
    size_t end = tail.rfind("PK\5\6");
    while (end != std::string::npos && end + end_size > tail.size()) {
      end = end == 0 ? std::string::npos : tail.rfind("PK\5\6", end - 1);
    }
    if (end == std::string::npos) {
      damaged("its directory is missing");
    }
    entries_ = number_at(tail, end + 10, 2);
    directory_size_ = number_at(tail, end + 12, 4);
    directory_offset_ = number_at(tail, end + 16, 4);
    if (end >= end64_locator_size && tail.compare(end - end64_locator_size, 4, "PK\6\7") == 0) {
      const std::string end64 = bytes(number_at(tail, end - end64_locator_size + 8, 8), end64_size);
      if (end64.compare(0, 4, "PK\6\6") != 0) {
        damaged("its 64-bit directory is missing");
      }
      entries_ = number_at(end64, 32, 8);
      directory_size_ = number_at(end64, 40, 8);
      directory_offset_ = number_at(end64, 48, 8);
    }
    if (directory_size_ > max_directory) {
      damaged("its directory is implausibly large");
    }
    if (entries_ > directory_size_ / entry_size) {
      damaged("its directory is shorter than it claims");
    }
  }

  // Returns how many bytes the entry took.
  uint64_t read_entry(std::string_view rest) {
    if (rest.size() < entry_size || rest.compare(0, 4, "PK\1\2") != 0) {
      damaged("its directory is malformed");
    }
    const uint64_t name_size = number_at(rest, 28, 2);
    const uint64_t extra_size = number_at(rest, 30, 2);
    const uint64_t total = entry_size + name_size + extra_size + number_at(rest, 32, 2);
    if (total > rest.size()) {
      damaged("its directory is malformed");
    }

    uint64_t stored_size = number_at(rest, 20, 4);
    uint64_t offset = number_at(rest, 42, 4);
    Record record;
    record.size = number_at(rest, 24, 4);
    record.compressed = number_at(rest, 10, 2) != 0;
    read_zip64(rest.substr(static_cast<size_t>(entry_size + name_size), static_cast<size_t>(extra_size)),
               {&record.size, &stored_size, &offset});
    add(std::string(rest.substr(entry_size, static_cast<size_t>(name_size))), record, stored_size, offset);
    return total;
  }

  // Each field that is all ones in the entry stands in the extra field, in this order.
  void read_zip64(std::string_view extra, const std::array<uint64_t*, 3>& fields) const {
    while (extra.size() >= 4) {
      const uint64_t id = number_at(extra, 0, 2);
      const size_t size = static_cast<size_t>(number_at(extra, 2, 2));
      if (size > extra.size() - 4) {
        damaged("its directory is malformed");
      }
      std::string_view content = extra.substr(4, size);
      extra.remove_prefix(4 + size);
      if (id != 1) {
        continue;
      }
      for (uint64_t* field : fields) {
        if (*field != 0xffffffff) {
          continue;
        }
        if (content.size() < 8) {
          damaged("its directory is malformed");
        }
        *field = number_at(content, 0, 8);
        content.remove_prefix(8);
      }
      return;
    }
  }

  void add(const std::string& full_name, Record record, uint64_t stored_size, uint64_t offset) {
    const size_t slash = full_name.find('/');
    if (slash == std::string::npos) {
      fail(ExitCode::bad_input, "checkpoint '{}' is a zip file that torch.save did not write: {} is in no folder.",
           path_, quote(full_name));
    }
    const std::string folder = lower_case(full_name.substr(0, slash));
    if (records.empty()) {
      folder_ = folder;
    }
    if (folder != folder_) {
      return;
    }
    const std::string name = full_name.substr(slash + 1);
    const bool fits = offset <= file_size_ && stored_size <= file_size_ - offset &&
                      file_size_ - offset - stored_size >= local_header_size;
    if (!fits || (!record.compressed && record.size != stored_size)) {
      damaged(fmt::format("its record {} claims {} bytes that are not in the file", quote(name),
                          std::max(record.size, stored_size)));
    }
    if (is_marker(name) && record.size > max_marker) {
      damaged(fmt::format("its record {} is implausibly large", quote(name)));
    }
    const auto [entry, added] = records.emplace(lower_case(name), record);
    if (!added) {
      entry->second.repeated = true;
    }
  }

  std::ifstream& file_;
  uint64_t file_size_;
  const std::string& path_;
  std::string folder_;
  uint64_t entries_ = 0;
  uint64_t directory_size_ = 0;
  uint64_t directory_offset_ = 0;
};

// Says what a file that does not start as a zip is, as far as its first bytes tell.
void require_zip(std::ifstream& file, const std::string& path) {
  std::string start(recognised_bytes, '\0');
  file.read(start.data(), static_cast<std::streamsize>(start.size()));
  start.resize(static_cast<size_t>(file.gcount()));
  file.clear();
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

// Whether its elements follow one another in the storage.
bool is_contiguous(const StoredTensor& tensor) {
  int64_t each = 1;
  for (size_t i = tensor.sizes.size(); i-- > 0; each *= tensor.sizes[i]) {
    if (tensor.sizes[i] != 1 && tensor.strides[i] != each) {
      return false;
    }
  }
  return true;
}

bool has_negative(const StoredTensor& tensor) {
  const auto negative = [](int64_t number) { return number < 0; };
  return tensor.offset < 0 || tensor.storage_numel < 0 ||
         std::any_of(tensor.sizes.begin(), tensor.sizes.end(), negative) ||
         std::any_of(tensor.strides.begin(), tensor.strides.end(), negative);
}

}  // namespace

struct Archive::Records {
  std::map<std::string, Record> directory;
  std::ifstream file;
  std::unique_ptr<caffe2::serialize::PyTorchStreamReader> reader;

  // Null where there is no such record.
  const Record* find(const std::string& name) const {
    const auto entry = directory.find(lower_case(name));
    return entry == directory.end() ? nullptr : &entry->second;
  }

  const Record& find_readable(const std::string& name, const std::string& path) const {
    const Record* record = find(name);
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

  std::tuple<at::DataPtr, size_t> get(const std::string& name, const std::string& path) const {
    const Record& record = find_readable(name, path);
    try {
      auto data = reader->getRecord(name);
      if (std::get<1>(data) == record.size) {
        return data;
      }
    } catch (const std::exception& error) {
      fail(ExitCode::bad_input, "checkpoint '{}': the record {} cannot be read: {}", path, quote(name),
           short_reason(error));
    }
    fail(ExitCode::bad_input, "checkpoint '{}': the record {} is not of the size that the directory says.", path,
         quote(name));
  }

  // `count` bytes of a record from `first` on, which lie within it.
  void read_part(const std::string& name, const std::string& path, uint64_t first, char* into, uint64_t count) {
    find_readable(name, path);
    std::string reason = "the file ends within it";
    try {
      file.clear();
      file.seekg(static_cast<std::streamoff>(reader->getRecordOffset(name) + first));
      if (file.read(into, static_cast<std::streamsize>(count))) {
        return;
      }
    } catch (const std::exception& error) {
      reason = short_reason(error);
    }
    fail(ExitCode::bad_input, "checkpoint '{}': the record {} cannot be read: {}", path, quote(name), reason);
  }
};

Archive::Archive(const std::string& path) : path_(path), records_(std::make_unique<Records>()) {
  uint64_t size = 0;
  std::ifstream& file = records_->file;
  file = open_input_file(path, checkpoint_file, size);
  require_zip(file, path);
  records_->directory = ZipDirectory(file, size, path).records;
  if (records_->find("version") == nullptr && records_->find(".data/version") == nullptr) {
    fail(ExitCode::bad_input, "checkpoint '{}' is a zip file that torch.save did not write: it has no version record.",
         path);
  }
  try {
    records_->reader = std::make_unique<caffe2::serialize::PyTorchStreamReader>(path);
  } catch (const std::exception& error) {
    fail(ExitCode::bad_input, "'{}' is a zip file but not a checkpoint that LibTorch reads: {}", path,
         short_reason(error));
  }
  if (records_->find("byteorder") != nullptr && read("byteorder") != "little") {
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
  const auto [data, size] = records_->get(record, path_);
  return size == 0 ? std::string() : std::string(static_cast<const char*>(data.get()), size);
}

void Archive::check(const StoredTensor& tensor, const std::string& name) const {
  const auto refuse = [&](const std::string& why) {
    fail(ExitCode::bad_input, "checkpoint '{}': the tensor {} {}.", path_, quote(name), why);
  };
  if (tensor.sizes.size() != tensor.strides.size() || has_negative(tensor)) {
    refuse("has a shape that no tensor has");
  }
  const Record* record = records_->find("data/" + tensor.storage);
  if (record == nullptr) {
    return refuse(fmt::format("refers to the storage {}, which is not in the file", quote(tensor.storage)));
  }
  const auto available = static_cast<int64_t>(record->size / c10::elementSize(tensor.dtype));
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

at::Tensor Archive::read(const StoredTensor& tensor, const std::string& name) const {
  check(tensor, name);
  const auto options = at::TensorOptions(tensor.dtype);
  const int64_t count = *element_count(tensor);
  if (count == 0) {
    return at::empty(tensor.sizes, options);
  }
  if (count < tensor.storage_numel && is_contiguous(tensor)) {
    const at::Tensor part = at::empty(tensor.sizes, options);
    const uint64_t bytes = c10::elementSize(tensor.dtype);
    records_->read_part("data/" + tensor.storage, path_, static_cast<uint64_t>(tensor.offset) * bytes,
                        static_cast<char*>(part.data_ptr()), static_cast<uint64_t>(count) * bytes);
    return part;
  }
  // from_blob wants a deleter that can be copied; DataPtr cannot.
  auto data = std::make_shared<at::DataPtr>(std::get<0>(records_->get("data/" + tensor.storage, path_)));
  void* const elements = data->get();
  const at::Tensor storage = at::from_blob(
      elements, {tensor.storage_numel}, [data](void*) {}, options);
  const at::Tensor view = storage.as_strided(tensor.sizes, tensor.strides, tensor.offset);
  // A view of part of a storage must not keep all of it.
  return view.numel() == tensor.storage_numel ? view.contiguous() : view.clone(at::MemoryFormat::Contiguous);
}

std::string short_reason(const std::exception& error) {
  const auto* from_torch = dynamic_cast<const c10::Error*>(&error);
  std::string_view reason = from_torch != nullptr ? from_torch->what_without_backtrace() : error.what();
  reason = reason.substr(0, reason.find('\n'));
  if (reason.compare(0, 13, "[enforce fail") == 0 && reason.find("] ") != std::string_view::npos) {
    reason.remove_prefix(reason.find("] ") + 2);
    while (!reason.empty() && (reason[0] == '.' || reason[0] == ' ')) {
      reason.remove_prefix(1);
    }
  }
  return std::string(reason.substr(0, 300));
}

}  // namespace demask
