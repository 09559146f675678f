#include "output/trace_writer.h"

#include <algorithm>

#include "output/output_file.h"
#include "output/read_trace.h"
#include "output/report.h"

namespace demask {

TraceWriter::TraceWriter(const TraceFiles& files) {
  if (files.other) {
    others_.push_back(read_trace(*files.other));
  }
  if (files.trace) {
    trace_ = open_output(*files.trace);
  }
  if (files.report) {
    report_ = open_output(*files.report);
  }
}

TraceWriter::~TraceWriter() = default;

void TraceWriter::finish(const TraceRun& run, const Vocabulary& vocabulary) {
  std::sort(samples_.begin(), samples_.end(), [](const TracedSample& left, const TracedSample& right) {
    return left.identity.index < right.identity.index;
  });
  std::vector<nlohmann::ordered_json> traces{trace_json(run, samples_, vocabulary)};
  if (trace_) {
    trace_->append(to_text(traces.front()) + "\n");
    trace_->finish();
  }
  if (report_) {
    traces.insert(traces.end(), others_.begin(), others_.end());
    report_->append(report_page(traces));
    report_->finish();
  }
}

}  // namespace demask
