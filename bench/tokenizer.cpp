// Seconds of processor time to read a vocabulary and to encode and decode a text with it, on one core.
//   demask_tokenizer_bench VOCABULARY TEXT [REPEATS]
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include "core/error.h"
#include "text/read_vocabulary.h"

namespace {

double processor_s() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

double median_s(int repeats, const std::function<void()>& call) {
  std::vector<double> seconds;
  for (int i = 0; i < repeats; ++i) {
    const double start = processor_s();
    call();
    seconds.push_back(processor_s() - start);
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds[seconds.size() / 2];
}

void measure(const std::string& path, const std::string& text, int repeats) {
  const double loading = median_s(repeats, [&] { demask::read_vocabulary(path); });
  const auto vocabulary = demask::read_vocabulary(path);
  demask::Vocabulary::Encoding encoding;
  const double encoding_s = median_s(repeats, [&] { encoding = vocabulary->encode(text); });
  std::string decoded;
  const double decoding_s = median_s(repeats, [&] { decoded = vocabulary->decode(encoding.ids); });
  const double megabytes = static_cast<double>(text.size()) / 1e6;
  fmt::print("{} tokens, read in {:.1f} ms; {:.2f} MB are {} ids: encoded at {:.1f} MB/s, decoded at {:.0f} MB/s{}\n",
             vocabulary->size(), 1e3 * loading, megabytes, encoding.ids.size(), megabytes / encoding_s,
             megabytes / decoding_s, decoded == text ? "" : ", to another text");
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 3) {
    fmt::print(stderr, "usage: demask_tokenizer_bench VOCABULARY TEXT [REPEATS]\n");
    return 2;
  }
  try {
    std::ifstream file(arguments[2], std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    measure(arguments[1], text, count > 3 ? std::stoi(arguments[3]) : 7);
  } catch (const demask::Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 3;
  }
}
