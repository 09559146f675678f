#include "output/background_writer.h"

#include <utility>

namespace demask {

BackgroundWriter::BackgroundWriter(std::vector<std::unique_ptr<SampleWriter>> writers) : writers_(std::move(writers)) {
  for (const auto& writer : writers_) {
    writer->begin();
  }
  thread_ = std::thread([this] { run(); });
}

BackgroundWriter::~BackgroundWriter() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    waiting_.clear();
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void BackgroundWriter::run() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return ending_ || !waiting_.empty(); });
    if (waiting_.empty()) {
      return;
    }
    Batch batch = std::move(waiting_.front());
    waiting_.pop_front();
    writing_ = true;
    lock.unlock();
    std::exception_ptr failure;
    try {
      for (size_t i = 0; i < writers_.size(); ++i) {
        writers_[i]->write(i + 1 < writers_.size() ? batch.records : std::move(batch.records), batch.frontier);
      }
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    writing_ = false;
    if (failure) {
      failure_ = failure;
      waiting_.clear();
    }
    changed_.notify_all();
  }
}

void BackgroundWriter::rethrow() {
  if (failure_) {
    std::rethrow_exception(std::exchange(failure_, nullptr));
  }
}

void BackgroundWriter::write(std::vector<Record> records, int64_t frontier) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [this] { return failure_ || waiting_.size() < most_waiting; });
  rethrow();
  waiting_.push_back({std::move(records), frontier});
  changed_.notify_all();
}

void BackgroundWriter::drain() {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [this] { return failure_ || (waiting_.empty() && !writing_); });
  rethrow();
}

void BackgroundWriter::finish(const RunTotals& totals) {
  drain();
  for (const auto& writer : writers_) {
    writer->finish(totals);
  }
}

}  // namespace demask
