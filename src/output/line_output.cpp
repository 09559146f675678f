#include "output/line_output.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "output/run_lock.h"

namespace demask {

std::unique_ptr<Output> open_line_stream() {
  return std::make_unique<StreamOutput>(STDOUT_FILENO, "standard output");
}

std::unique_ptr<Output> open_growing_file(const std::string& path, const std::string& header) {
  const OutputPlace place = output_place(path);
  std::unique_ptr<DirectOutput> file;
  if (place.stream) {
    file = std::make_unique<StreamOutput>(*place.stream, path);
  } else if (!place.regular) {
    file = std::make_unique<DirectOutput>(open_to_write(path), path, /*undo_partial=*/false);
  } else {
    Descriptor descriptor(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666));  // NOLINT(*-vararg)
    if (descriptor.is_open() && !try_lock(descriptor, LOCK_EX)) {
      fail_locked(path);
    }
    file = std::make_unique<DirectOutput>(std::move(descriptor), path, /*undo_partial=*/true);
    file->cut(0);
  }
  file->append(header + "\n");
  return file;
}

void LinesInTurn::write_below(int64_t frontier) {
  std::string text;
  for (; !waiting_.empty() && waiting_.begin()->first < frontier; waiting_.erase(waiting_.begin())) {
    text += waiting_.begin()->second;
    text += '\n';
  }
  if (!text.empty()) {
    output_->append(text);
  }
}

}  // namespace demask
