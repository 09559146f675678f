// Layout: APPNOTE.TXT 6.3, sections 4.3.7, 4.3.12 to 4.3.16 and 4.5.3.
#include "checkpoint/zip_directory.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "core/descriptor.h"
#include "core/error.h"
#include "core/text.h"

namespace demask {
namespace {

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

// Records that are read for the format alone.
bool is_marker(const std::string& name) {
  return name == "version" || name == "byteorder" || name.compare(0, 1, ".") == 0;
}

class ZipDirectory {
 public:
  ZipDirectory(int file, uint64_t file_size, const std::string& path)
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

  ZipRecords records;

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
    if (!read_whole(file_, buffer.data(), count, offset)) {
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
    ZipRecord record;
    record.offset = number_at(rest, 42, 4);
    record.size = number_at(rest, 24, 4);
    record.compressed = number_at(rest, 10, 2) != 0;
    read_zip64(rest.substr(static_cast<size_t>(entry_size + name_size), static_cast<size_t>(extra_size)),
               {&record.size, &stored_size, &record.offset});
    add(std::string(rest.substr(entry_size, static_cast<size_t>(name_size))), record, stored_size);
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

  void add(const std::string& full_name, const ZipRecord& record, uint64_t stored_size) {
    const size_t slash = full_name.find('/');
    if (slash == std::string::npos) {
      fail(ExitCode::bad_input, "checkpoint '{}' is a zip file that torch.save did not write: {} is in no folder.",
           path_, quote(full_name));
    }
    const std::string folder = zip_name(full_name.substr(0, slash));
    if (records.empty()) {
      folder_ = folder;
    }
    if (folder != folder_) {
      return;
    }
    const std::string name = full_name.substr(slash + 1);
    const bool fits = record.offset <= file_size_ && stored_size <= file_size_ - record.offset &&
                      file_size_ - record.offset - stored_size >= local_header_size;
    if (!fits || (!record.compressed && record.size != stored_size)) {
      damaged(fmt::format("its record {} claims {} bytes that are not in the file", quote(name),
                          std::max(record.size, stored_size)));
    }
    if (is_marker(name) && record.size > max_marker) {
      damaged(fmt::format("its record {} is implausibly large", quote(name)));
    }
    const auto [entry, added] = records.emplace(zip_name(name), record);
    if (!added) {
      entry->second.repeated = true;
    }
  }

  int file_;
  uint64_t file_size_;
  const std::string& path_;
  std::string folder_;
  uint64_t entries_ = 0;
  uint64_t directory_size_ = 0;
  uint64_t directory_offset_ = 0;
};

}  // namespace

std::string zip_name(std::string name) {
  for (char& letter : name) {
    if (letter >= 'A' && letter <= 'Z') {
      letter = static_cast<char>(letter - 'A' + 'a');
    }
  }
  return name;
}

ZipRecords read_zip_directory(int file, uint64_t file_size, const std::string& path) {
  return ZipDirectory(file, file_size, path).records;
}

std::optional<uint64_t> begin_of(const ZipRecord& record, int file, uint64_t file_size) {
  std::string header(local_header_size, '\0');
  if (!read_whole(file, header.data(), header.size(), record.offset) || header.compare(0, 4, "PK\3\4") != 0) {
    return std::nullopt;
  }
  const uint64_t begin = record.offset + local_header_size + number_at(header, 26, 2) + number_at(header, 28, 2);
  return begin <= file_size && record.size <= file_size - begin ? std::optional<uint64_t>(begin) : std::nullopt;
}

}  // namespace demask
