// Writes samples on a thread of its own, so that the next batch is drawn while the last is decoded and written.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "output/sample_writer.h"

namespace demask {

class BackgroundWriter {
 public:
  // Calls begin() of each at once, on the caller's thread.
  explicit BackgroundWriter(std::vector<std::unique_ptr<SampleWriter>> writers);
  BackgroundWriter(const BackgroundWriter&) = delete;
  BackgroundWriter& operator=(const BackgroundWriter&) = delete;
  ~BackgroundWriter();  // what is not written yet is dropped

  // As SampleWriter::write, later. Waits while two batches are waiting, so that memory stays bounded. Throws what a
  // write before threw.
  void write(std::vector<Record> records, int64_t frontier);
  // Waits until everything is written. Throws as write does.
  void drain();
  // Waits, then finishes the writers.
  void finish(const RunTotals& totals);

 private:
  struct Batch {
    std::vector<Record> records;
    int64_t frontier = 0;
  };
  static constexpr size_t most_waiting = 2;

  void run();
  void rethrow();

  std::vector<std::unique_ptr<SampleWriter>> writers_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Batch> waiting_;
  bool writing_ = false;
  bool ending_ = false;
  std::exception_ptr failure_;
  std::thread thread_;
};

}  // namespace demask
