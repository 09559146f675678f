#include "app/work.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "app/prompt.h"
#include "core/error.h"
#include "core/sha256.h"

namespace demask {

void Work::add(const Session& session, const Method& method, WorkItem item) {
  const std::shared_ptr<const PreparedPrompt> prompt = method.prepare(item, /*quiet=*/false);
  WorkEntry entry;
  entry.first = entries_.empty() ? session.config.first_sample : entries_.back().first + entries_.back().samples;
  entry.samples = item.num_samples.value_or(session.config.num_samples);
  entry.length = prompt->length;
  entry.generated = prompt->generated;
  entry.batch_kind = prompt->batch_kind;
  entry.item = std::move(item);
  samples_ += entry.samples;
  entries_.push_back(std::move(entry));
}

Work::Work(const Session& session, const Method& method) : seed_(static_cast<uint64_t>(session.config.seed)) {
  add(session, method, own_prompt(session.config));
}

Work::Work(const Session& session, const Method& method, WorkList list)
    : seed_(static_cast<uint64_t>(session.config.seed)), is_list_(true), bad_lines_(std::move(list.bad_lines)) {
  const std::string& name = *session.config.prompts;
  const bool standard = session.config.sampling_method == "standard";
  for (WorkItem& item : list.items) {
    const int64_t line = item.line;
    try {
      if (item.sequence_length && standard) {
        fail(ExitCode::bad_input, "sequence_length is for diffusion; in standard sampling give max_new_tokens.");
      }
      if (item.max_new_tokens && !standard) {
        fail(ExitCode::bad_input, "max_new_tokens is for standard sampling; in diffusion give sequence_length.");
      }
      add(session, method, std::move(item));
    } catch (const Error& error) {
      if (session.config.on_error != "skip") {
        fail(ExitCode::bad_input, "{}:{}: {} Or leave such lines out with --on_error=skip.", name, line, error.what());
      }
      bad_lines_.push_back({line, error.what()});
    }
  }
  std::sort(bad_lines_.begin(), bad_lines_.end(),
            [](const BadLine& left, const BadLine& right) { return left.line < right.line; });
  if (entries_.empty()) {
    fail(ExitCode::bad_input, "{} has no prompt that could be used; line {}: {}", name, bad_lines_.front().line,
         bad_lines_.front().reason);
  }
}

const WorkEntry& Work::entry_of(int64_t index) const {
  const auto after = std::upper_bound(entries_.begin(), entries_.end(), index,
                                      [](int64_t value, const WorkEntry& entry) { return value < entry.first; });
  return *(after - 1);
}

Stream Work::stream_of(int64_t index) const {
  const WorkEntry& entry = entry_of(index);
  return entry.item.seed ? Stream{static_cast<uint64_t>(*entry.item.seed), index - entry.first} : Stream{seed_, index};
}

std::string Work::digest() const {
  Sha256 hash;
  for (const WorkEntry& entry : entries_) {
    const WorkItem& item = entry.item;
    nlohmann::ordered_json json;
    json["id"] = item.id;
    if (item.start_text) {
      json["start_text"] = text_of(item, "start_text", *item.start_text);
    }
    if (item.infill_text) {
      json["infill_text"] = text_of(item, "infill_text", *item.infill_text);
    }
    json["num_samples"] = entry.samples;
    json["length"] = entry.length;
    json["generated"] = entry.generated;
    json["seed"] = item.seed ? nlohmann::ordered_json(*item.seed) : nlohmann::ordered_json();
    hash.update(json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
  }
  return hash.hex();
}

}  // namespace demask
