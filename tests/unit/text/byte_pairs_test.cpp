#include "text/byte_pairs.h"

#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/catch.h"
#include "text/byte_letters.h"

using namespace demask;
using Ids = std::vector<int64_t>;

namespace {

// Every merge by looking at every pair, as the method is defined.
Ids merged_by_definition(const std::string& word, const std::map<std::pair<int64_t, int64_t>, int64_t>& merges) {
  Ids ids(word.begin(), word.end());
  while (true) {
    size_t best = ids.size();
    int64_t lowest = INT64_MAX;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto found = merges.find({ids[i], ids[i + 1]});
      if (found != merges.end() && found->second < lowest) {
        lowest = found->second;
        best = i;
      }
    }
    if (best == ids.size()) {
      return ids;
    }
    ids[best] = lowest;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}

// The bytes by their value, then random merges of any two pieces, ranked by the merged id.
struct RandomPairs {
  PieceTable pieces;
  BytePairs pairs;
  std::map<std::pair<int64_t, int64_t>, int64_t> merges;

  explicit RandomPairs(std::mt19937& random) {
    for (int byte = 0; byte < 256; ++byte) {
      const char letter = static_cast<char>(byte);
      REQUIRE(pieces.add(byte, std::string(1, letter)).empty());
    }
    Ids usable = {'a', 'b', 'c'};
    for (int64_t id = 256; id < 296; ++id) {
      const int64_t left = usable[random() % usable.size()], right = usable[random() % usable.size()];
      const std::string piece = std::string(pieces.piece(left)) + std::string(pieces.piece(right));
      if (pieces.add(id, piece).empty()) {
        pairs.add(left, right, static_cast<uint32_t>(id), id);
        merges[{left, right}] = id;
        usable.push_back(id);
      }
    }
    pairs.take_bytes(pieces);
  }
};

}  // namespace

TEST_CASE("words of any length are merged as the method is defined") {
  std::mt19937 random(1);
  BytePairs::Scratch scratch;
  for (size_t table = 0; table < 20; ++table) {
    const RandomPairs model(random);
    for (const size_t length : std::vector<size_t>{1, 2, 3, 5, 8, 20, 63, 64, 65, 66, 200}) {
      std::string word;
      for (size_t i = 0; i < length; ++i) {
        word += "abcabcabcd"[random() % (table % 2 == 0 ? 1 + table % 10 : size_t{10})];
      }
      Ids ids;
      std::vector<size_t> lacking;
      model.pairs.split(word, scratch, ids, lacking);
      CAPTURE(word);
      CHECK(ids == merged_by_definition(word, model.merges));
      CHECK(lacking.empty());
    }
  }
}

TEST_CASE("bytes without a piece are left out and named") {
  PieceTable pieces;
  REQUIRE(pieces.add(7, "a").empty());
  BytePairs pairs;
  pairs.take_bytes(pieces);
  CHECK_FALSE(pairs.has_every_byte());
  BytePairs::Scratch scratch;
  Ids ids;
  std::vector<size_t> lacking;
  pairs.split("bab", scratch, ids, lacking);
  CHECK(ids == Ids{7});
  CHECK(lacking == std::vector<size_t>{0, 2});
}

TEST_CASE("the byte letters are those of GPT-2") {
  CHECK(bytes_of_letters("Hi!~") == "Hi!~");
  CHECK(bytes_of_letters("\u0120\u010A\u0100\u0121\u0143\u00AE") == std::string(" \n\0\x7F\xAD\xAE", 6));
  CHECK_FALSE(bytes_of_letters(" "));
  CHECK_FALSE(bytes_of_letters("\u0144"));
  CHECK_FALSE(bytes_of_letters("\u00AD"));
  CHECK_FALSE(bytes_of_letters("\xFF"));
  CHECK(bytes_in_gpt2_order()[0] == '!');
  CHECK(bytes_in_gpt2_order()[188] == 0);
  CHECK(bytes_in_gpt2_order()[220] == ' ');
}
