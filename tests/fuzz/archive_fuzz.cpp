// Training checkpoints: an input that starts as a pickle does becomes the data.pkl of an archive, any other is the
// archive.
#include <c10/util/Logging.h>
#include <caffe2/serialize/inline_container.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "checkpoint/nanogpt_checkpoint.h"
#include "core/error.h"
#include "tests/fuzz/memory_file.h"

// LibTorch does not free the zip directory of an archive that its reader refuses.
extern "C" const char* __lsan_default_suppressions() {
  return "leak:libtorch_cpu\n";
}

// LibTorch looks up the names of a backtrace for each of its errors, which takes longer than all else here.
extern "C" int LLVMFuzzerInitialize(int*, char***) {
  c10::SetStackTraceFetcher([] { return std::string(); });
  return 0;
}

namespace {

std::string archive_of(const uint8_t* pickle, size_t size) {
  std::string zip;
  caffe2::serialize::PyTorchStreamWriter writer([&](const void* bytes, size_t count) {
    zip.append(static_cast<const char*>(bytes), count);
    return count;
  });
  const std::string storage(4096, '\1');
  writer.writeRecord("data.pkl", pickle, size);
  for (const char* name : {"data/0", "data/1", "data/2"}) {
    writer.writeRecord(name, storage.data(), storage.size());
  }
  writer.writeEndOfFile();
  return zip;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static demask::fuzz::MemoryFile file;
  std::string path;
  if (size > 0 && data[0] == 0x80) {
    const std::string zip = archive_of(data, size);
    path = file.write(reinterpret_cast<const uint8_t*>(zip.data()), zip.size());
  } else {
    path = file.write(data, size);
  }
  try {
    demask::read_nanogpt_checkpoint(path);
  } catch (const demask::Error&) {
  }
  return 0;
}
