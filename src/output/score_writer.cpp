#include "output/score_writer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/json.h"
#include "core/notice.h"
#include "core/utf8.h"
#include "output/line_output.h"

namespace demask {
namespace {

double bits(double nats) {
  return nats / std::log(2.0);
}

// What scores come to.
struct Totals {
  int64_t texts = 0, tokens = 0, characters = 0;
  double log_likelihood = 0;  // nats

  void add(int64_t of_tokens, int64_t of_characters, double nats) {
    ++texts;
    tokens += of_tokens;
    characters += of_characters;
    log_likelihood += nats;
  }

  void tell() const {
    if (texts == 0) {
      return;
    }
    const double each = -log_likelihood / static_cast<double>(tokens);
    notice(
        "{} texts of {} tokens, {} characters: mean log-likelihood {:.4f} a text, {:.4f} nats a token (perplexity "
        "{:.4f}){}.",
        texts, tokens, characters, log_likelihood / static_cast<double>(texts), each, std::exp(each),
        characters == 0
            ? ""
            : fmt::format(", {:.4f} bits a character", bits(-log_likelihood) / static_cast<double>(characters)));
  }
};

class ScoreWriter : public SampleWriter {
 public:
  explicit ScoreWriter(ScoreLines lines) : lines_(std::move(lines)) {}
  void begin() override {}

 protected:
  std::string line_of(const Record& record) {
    const TextScore& score = *record.score;
    const auto tokens = static_cast<int64_t>(record.tokens.size()),
               characters = static_cast<int64_t>(characters_of(record.text).size());
    totals_.add(tokens, characters, score.log_likelihood);
    std::string line = fmt::format(R"({{"index":{},"id":{},"seed":{},"log_likelihood":{})", record.identity.index,
                                   record.identity.prompt_id, record.identity.seed, json_number(score.log_likelihood));
    if (score.standard_error) {
      line += fmt::format(R"(,"standard_error":{})", json_number(*score.standard_error));
    }
    line += fmt::format(R"(,"nats_per_token":{},"bits_per_character":{},"token_count":{},"character_count":{})",
                        json_number(-score.log_likelihood / static_cast<double>(tokens)),
                        json_number(bits(-score.log_likelihood) / static_cast<double>(characters)), tokens, characters);
    if (lines_.tokens) {
      std::vector<std::string> each;
      for (const double nats : score.each) {
        each.push_back(json_number(nats));
      }
      line += fmt::format(R"(,"tokens":[{}],"token_log_likelihoods":[{}])", fmt::join(record.tokens, ","),
                          fmt::join(each, ","));
    }
    line += fmt::format(R"(,"score_method":"{}")", name_of(score.method));
    if (score.method == ScoreMethod::bound) {
      line += fmt::format(R"(,"score_draws":{})", lines_.draws);
    }
    return line + fmt::format(R"(,"checkpoint":{}}})", dump_json(lines_.checkpoint));
  }

  const Totals& scored() const { return totals_; }

  static void tell_rate(const RunTotals& totals) {
    if (totals.samples > 0) {
      notice("scored {}.", rate_in_words(totals));
    }
  }

 private:
  ScoreLines lines_;
  Totals totals_;
};

class ScoreFileWriter : public ScoreWriter {
 public:
  ScoreFileWriter(std::unique_ptr<RunFile> file, std::string path, const ScoreLines& lines)
      : ScoreWriter(lines), file_(std::move(file)), path_(std::move(path)), resumed_(file_->begun()) {}

  void write(std::vector<Record> records, int64_t /*frontier*/) override {
    for (const Record& record : records) {
      file_->append(record.identity.index, line_of(record));
    }
  }

  void finish(const RunTotals& totals) override {
    file_->finish();
    (resumed_ ? totals_of_file() : scored()).tell();
    tell_rate(totals);
  }

 private:
  // With the lines of an earlier run.
  Totals totals_of_file() const {
    Totals all;
    std::ifstream lines(path_);
    std::string line;
    std::getline(lines, line);  // the header
    while (std::getline(lines, line)) {
      const auto score = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
      if (score.is_object() && score.value("token_count", 0) > 0) {
        const auto& nats = score.at("log_likelihood");
        all.add(score.at("token_count"), score.at("character_count"),
                nats.is_number() ? nats.get<double>() : -std::numeric_limits<double>::infinity());
      }
    }
    return all;
  }

  std::unique_ptr<RunFile> file_;
  std::string path_;
  bool resumed_;
};

class ScoreStreamWriter : public ScoreWriter {
 public:
  ScoreStreamWriter(std::unique_ptr<Output> output, const ScoreLines& lines)
      : ScoreWriter(lines), output_(std::move(output)) {}

  void write(std::vector<Record> records, int64_t frontier) override {
    for (const Record& record : records) {
      output_.add(record.identity.index, line_of(record));
    }
    output_.write_below(frontier);
  }

  void finish(const RunTotals& totals) override {
    output_.finish();
    scored().tell();
    tell_rate(totals);
  }

 private:
  LinesInTurn output_;
};

}  // namespace

std::unique_ptr<SampleWriter> make_score_writer(std::unique_ptr<RunFile> file, const std::string& path,
                                                const ScoreLines& lines) {
  return std::make_unique<ScoreFileWriter>(std::move(file), path, lines);
}

std::unique_ptr<SampleWriter> make_score_writer(std::unique_ptr<Output> output, const ScoreLines& lines) {
  return std::make_unique<ScoreStreamWriter>(std::move(output), lines);
}

}  // namespace demask
