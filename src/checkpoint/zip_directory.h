// The directory of a zip file as torch.save writes it: which records lie where, in one folder.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace demask {

struct ZipRecord {
  uint64_t size = 0;    // uncompressed, as the directory claims
  uint64_t offset = 0;  // of its header in the file
  bool compressed = false;
  bool repeated = false;  // the name occurs again, perhaps in other case: LibTorch's reader ignores case
};

// By zip_name, without the folder.
using ZipRecords = std::map<std::string, ZipRecord>;

// A name in lower case, for LibTorch looks for names so.
std::string zip_name(std::string name);

// Reads the directory of the file, whose size is `file_size`, and no record. A record's size may be any number, so what
// it claims is checked before memory is taken for it. Throws Error(bad_input) that names `path`.
ZipRecords read_zip_directory(int file, uint64_t file_size, const std::string& path);

// Where the bytes of a record begin, behind a header whose length only that header says; none where no header is there
// or the bytes reach past the end of the file.
std::optional<uint64_t> begin_of(const ZipRecord& record, int file, uint64_t file_size);

}  // namespace demask
