#include "output/sample_writer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "core/json.h"
#include "core/text.h"
#include "core/utf8.h"
#include "output/line_output.h"
#include "output/output_file.h"
#include "output/readable.h"

namespace demask {
namespace {

class TextWriter : public SampleWriter {
 public:
  TextWriter(std::unique_ptr<Output> output, const RunDescription& run) : output_(std::move(output)), run_(run) {}

  void begin() override { output_->append(header()); }

  void write(std::vector<Record> records, int64_t frontier) override {
    for (Record& record : records) {
      const int64_t index = record.identity.index;
      waiting_.emplace(index, std::move(record));
    }
    std::string text;
    for (; !waiting_.empty() && waiting_.begin()->first < frontier; waiting_.erase(waiting_.begin())) {
      append_form(waiting_.begin()->second, text);
    }
    output_->append(text);
  }

  void finish(const RunTotals& totals) override {
    output_->append(fmt::format("{}\nGenerated {}\n", rule, rate_in_words(totals)));
    output_->finish();
  }

 private:
  static constexpr std::string_view rule = "============================================================";

  std::string header() const {
    size_t width = 0;
    for (const auto& [label, value] : run_.header) {
      width = std::max(width, value.empty() ? 0 : label.size() + 1);
    }
    std::string lines;
    for (const auto& [label, value] : run_.header) {
      lines += value.empty() ? label + "\n" : fmt::format("{:<{}} {}\n", label + ":", width, value);
    }
    return lines;
  }

  void append_form(const Record& record, std::string& out) const {
    out += fmt::format("{}\nSAMPLE {}", rule, record.identity.index - run_.first_sample + 1);
    out += run_.num_samples ? fmt::format("/{}", *run_.num_samples) : "";
    if (!record.identity.prompt_id.empty()) {
      out += fmt::format(" (prompt {})", record.identity.prompt_id);
    } else if (run_.first_sample > 0) {
      out += fmt::format(" (index {})", record.identity.index);
    }
    out += fmt::format("\nSelf-confidence: {:.4f} (prob: {:.6f})\n{}\n{}\n", record.self_confidence,
                       std::exp(record.self_confidence), record.text, statistics(record.text));
  }

  static std::string statistics(std::string_view text) {
    const std::vector<std::string_view> characters = characters_of(text);
    std::string line = fmt::format("Stats: {} chars", characters.size());
    std::string_view separator = ", most common: ";
    for (const auto& [character, count] : most_common(characters, 5)) {
      line += fmt::format("{}{}: {}", separator, repr(character), count);
      separator = ", ";
    }
    return line;
  }

  std::unique_ptr<Output> output_;
  RunDescription run_;
  std::map<int64_t, Record> waiting_;
};

class JsonWriter : public SampleWriter {
 public:
  explicit JsonWriter(const RunDescription& run)
      : common_(fmt::format(R"(,"method":{},"checkpoint":{}}})", dump_json(run.method), dump_json(run.checkpoint))) {}

  void begin() override {}

 protected:
  std::string line_of(const Record& record) const {
    std::string line = fmt::format(R"({{"index":{})", record.identity.index);
    if (!record.identity.prompt_id.empty()) {
      line += fmt::format(R"(,"id":{},"sample":{})", record.identity.prompt_id, record.identity.number);
    }
    line += fmt::format(R"(,"seed":{},"text":{},"tokens":[{}],"self_confidence":)", record.identity.seed,
                        dump_json(record.text), fmt::join(record.tokens, ","));
    line += json_number(record.self_confidence);
    if (record.score) {
      line += fmt::format(R"(,"log_likelihood":{})", json_number(record.score->log_likelihood));
    }
    return line + common_;
  }

 private:
  std::string common_;  // what every line ends with
};

class JsonFileWriter : public JsonWriter {
 public:
  JsonFileWriter(std::unique_ptr<RunFile> file, const RunDescription& run) : JsonWriter(run), file_(std::move(file)) {}

  void write(std::vector<Record> records, int64_t /*frontier*/) override {
    for (const Record& record : records) {
      file_->append(record.identity.index, line_of(record));
    }
  }

  void finish(const RunTotals& /*totals*/) override { file_->finish(); }

 private:
  std::unique_ptr<RunFile> file_;
};

class JsonStreamWriter : public JsonWriter {
 public:
  JsonStreamWriter(std::unique_ptr<Output> output, const RunDescription& run)
      : JsonWriter(run), output_(std::move(output)) {}

  void write(std::vector<Record> records, int64_t frontier) override {
    for (const Record& record : records) {
      output_.add(record.identity.index, line_of(record));
    }
    output_.write_below(frontier);
  }

  void finish(const RunTotals& /*totals*/) override { output_.finish(); }

 private:
  LinesInTurn output_;
};

}  // namespace

std::string rate_in_words(const RunTotals& totals) {
  const double tokens_per_s = totals.elapsed_s > 0 ? static_cast<double>(totals.tokens) / totals.elapsed_s : 0.0;
  const std::string computed =
      totals.computed_share < 1 ? fmt::format(" over {:.0f}% of the positions", 100 * totals.computed_share) : "";
  return fmt::format("{} tokens in {:.3f} s ({:.0f} tokens/s, {} forwards{})", totals.tokens, totals.elapsed_s,
                     tokens_per_s, totals.forwards, computed);
}

std::unique_ptr<SampleWriter> make_text_writer(int descriptor, std::string name, const RunDescription& run) {
  return std::make_unique<TextWriter>(std::make_unique<StreamOutput>(descriptor, std::move(name)), run);
}

std::unique_ptr<SampleWriter> make_text_file_writer(const std::string& path, const RunDescription& run) {
  return std::make_unique<TextWriter>(open_output(path), run);
}

std::unique_ptr<SampleWriter> make_json_lines_writer(std::unique_ptr<RunFile> file, const RunDescription& run) {
  return std::make_unique<JsonFileWriter>(std::move(file), run);
}

std::unique_ptr<SampleWriter> make_json_lines_writer(std::unique_ptr<Output> output, const RunDescription& run) {
  return std::make_unique<JsonStreamWriter>(std::move(output), run);
}

bool is_json_lines(const std::string& path) {
  return ends_with(path, ".jsonl");
}

}  // namespace demask
