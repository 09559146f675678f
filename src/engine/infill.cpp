#include "engine/infill.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "core/error.h"

namespace demask {
namespace {

// Positions to fill; memory is not to run out before the block size is looked at.
constexpr int64_t most_positions = int64_t{1} << 24;

bool is_to_fill(const InfillPart& part) {
  return part.most != 0 || part.least != 0;
}

void check_parts(const std::string& key, const std::vector<InfillPart>& parts) {
  int64_t positions = 0;
  for (size_t k = 0; k < parts.size(); ++k) {
    const InfillPart& part = parts[k];
    if (is_to_fill(part) && (part.least < 1 || part.most < part.least)) {
      fail(ExitCode::bad_usage,
           "{}: part {}, counted from 0, has {} to {} pieces: give 1 or more, the smaller number first.", key, k,
           part.least, part.most);
    }
    if (part.most > most_positions - positions) {
      fail(ExitCode::bad_usage, "{} has more than {} positions to fill, which no model reads.", key, most_positions);
    }
    positions += part.most;
  }
  if (positions == 0) {
    fail(ExitCode::bad_usage, R"({} has nothing to fill. Give it a part such as {{"gap": [1, 8]}} or {{"masks": 8}}.)",
         key);
  }
}

}  // namespace

std::vector<InfillPart> infill_parts(const std::string& text, const InfillMarks& marks) {
  const std::string either = marks.gap ? fmt::format("'{}' or '{}'", marks.mask, *marks.gap)  //
                                       : fmt::format("'{}'", marks.mask);
  if (text.empty()) {
    fail(ExitCode::bad_usage, "infill_text is empty. Give a text with {} at each position to fill.", either);
  }
  std::vector<InfillPart> parts;
  size_t start = 0;
  const auto find = [&](const std::string& mark) { return text.find(mark, start); };
  while (true) {
    const size_t mask = find(marks.mask), gap = marks.gap ? find(*marks.gap) : std::string::npos;
    const size_t end = std::min(mask, gap);
    if (const std::string fixed = text.substr(start, end == std::string::npos ? end : end - start); !fixed.empty()) {
      parts.push_back({fixed, 0, 0});
    }
    if (end == std::string::npos) {
      break;
    }
    parts.push_back(gap < mask ? InfillPart{{}, marks.gap_least, marks.gap_most} : InfillPart{{}, 1, 1});
    start = end + (gap < mask ? *marks.gap : marks.mask).size();
  }
  if (std::none_of(parts.begin(), parts.end(), is_to_fill)) {
    fail(ExitCode::bad_usage,
         "infill_text has nothing to fill: no {} in it. Mark each position to fill, or set --mask_char.", either);
  }
  return parts;
}

GappedTemplate infill_template(const std::string& key, const std::vector<InfillPart>& parts,
                               const Vocabulary& vocabulary, int64_t mask_token_id, const TextReading& reading) {
  check_parts(key, parts);
  std::string given;  // so that unknown characters are named once
  for (const InfillPart& part : parts) {
    given += part.text;
  }
  encode_text(key, given, vocabulary, reading);
  const TextReading checked = {/*skip_unknown=*/true, /*quiet=*/true, reading.parse_special};

  GappedTemplate result;
  Template& text = result.text;
  const auto append = [&text](const std::vector<int64_t>& ids, bool fixed) {
    text.tokens.insert(text.tokens.end(), ids.begin(), ids.end());
    text.fixed.resize(text.tokens.size(), fixed);
  };
  append(vocabulary.template_prefix(), /*fixed=*/true);
  for (const InfillPart& part : parts) {
    if (!is_to_fill(part)) {
      append(encode_text(key, part.text, vocabulary, checked), /*fixed=*/true);
      continue;
    }
    if (part.least < part.most) {
      result.gaps.push_back({text.length(), part.least, part.most});
    }
    append(std::vector<int64_t>(static_cast<size_t>(part.most), mask_token_id), /*fixed=*/false);
  }
  return result;
}

}  // namespace demask
