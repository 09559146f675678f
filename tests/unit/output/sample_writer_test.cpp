#include "output/sample_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <locale>
#include <set>
#include <sstream>

#include "core/error.h"
#include "output/line_output.h"
#include "tests/support/catch.h"
#include "tests/support/file_size_limit.h"
#include "tests/support/process.h"
#include "tests/support/word_pieces.h"
#include "text/character_vocabulary.h"

namespace demask {
namespace {

using testing::FileSizeLimit;
using testing::read_file;
using testing::TemporaryFolder;
using testing::write_file;

// As the engine makes the text of a sample.
std::string text_of(const std::vector<int64_t>& tokens) {
  static const CharacterVocabulary vocabulary({"\n", " ", "'", "a", "b", "é"});
  return vocabulary.decode(tokens, 6);
}

RunDescription run_of(int64_t first_sample, int64_t num_samples) {
  RunDescription run;
  run.method = "diffusion";
  run.checkpoint = "out/diffusion.pt";
  run.first_sample = first_sample;
  run.num_samples = num_samples;
  run.mask_token_id = 6;
  run.header = {{"demask 0.1.0", ""}, {"method", "diffusion"}, {"seed", "1337"}};
  return run;
}

Record sample_of(int64_t index, const std::vector<int64_t>& tokens, double self_confidence = std::log(0.5)) {
  return {{index, 0, "", 1337}, text_of(tokens), tokens, self_confidence};
}

void write_one(SampleWriter& writer) {
  writer.begin();
  writer.write({sample_of(0, {3})}, 1);
  writer.finish({1.0, 1, 1, 1});
}

std::unique_ptr<SampleWriter> json_lines(const std::string& path, const RunDescription& run) {
  RunFileOptions options;
  options.path = path;
  options.header = {{"demask", "0.1.0"}, {"first", run.first_sample}, {"samples", *run.num_samples}};
  options.range = {run.first_sample, *run.num_samples};
  return make_json_lines_writer(std::make_unique<RunFile>(options), run);
}

// By its ending.
std::unique_ptr<SampleWriter> make_file_writer(const std::string& path, const RunDescription& run) {
  return is_json_lines(path) ? json_lines(path, run) : make_text_file_writer(path, run);
}

std::set<std::string> names_in(const std::string& folder) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.insert(entry.path().filename().string());
  }
  return names;
}

// Without the header.
std::vector<nlohmann::json> samples_in(const std::string& path) {
  std::istringstream lines(read_file(path));
  std::vector<nlohmann::json> objects;
  for (std::string line; std::getline(lines, line);) {
    objects.push_back(nlohmann::json::parse(line));
  }
  objects.erase(objects.begin());
  return objects;
}

template <typename Action>
std::string failure_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    CHECK(error.code() == ExitCode::failed);
    return error.what();
  }
  return "no error";
}

struct DecimalComma : std::numpunct<char> {
  char do_decimal_point() const override { return ','; }
  char do_thousands_sep() const override { return '.'; }
  std::string do_grouping() const override { return "\3"; }
};

const char* const expected_text =
    "demask 0.1.0\n"
    "method: diffusion\n"
    "seed:   1337\n"
    "============================================================\n"
    "SAMPLE 1/2 (index 8)\n"
    "Self-confidence: -0.6931 (prob: 0.500000)\n"
    "aa é\n"
    "'[MASK]\n"
    "Stats: 12 chars, most common: 'a': 2, ' ': 1, 'é': 1, '\\n': 1, \"'\": 1\n"
    "============================================================\n"
    "SAMPLE 2/2 (index 9)\n"
    "Self-confidence: -0.6931 (prob: 0.500000)\n"
    "b\n\n"
    "Stats: 2 chars, most common: 'b': 1, '\\n': 1\n"
    "============================================================\n"
    "Generated 2048 tokens in 1.234 s (1660 tokens/s, 99 forwards)\n";

TEST_CASE("the text form is header, samples and totals, whatever the locale") {
  const TemporaryFolder folder;
  const std::locale before = std::locale::global(std::locale(std::locale::classic(), new DecimalComma));
  const int descriptor = ::open((folder / "out").c_str(), O_WRONLY | O_CREAT, 0600);
  const auto writer = make_text_writer(descriptor, "standard output", run_of(8, 2));
  writer->begin();
  writer->write({sample_of(9, {4, 0})}, 8);  // waits for the one before it
  writer->write({sample_of(8, {3, 3, 1, 5, 0, 2, 6})}, 10);
  writer->finish({1.234, 2, 2048, 99});
  std::locale::global(before);
  CHECK(read_file(folder / "out") == expected_text);
  CHECK(::close(descriptor) == 0);  // still open: it is the caller's
}

TEST_CASE("the characters of word pieces' texts are counted, not the pieces") {
  const TemporaryFolder folder;
  const demask::testing::WordPieces pieces({" the", "\xf0\x9f\x98", "\x80"});
  const auto writer = make_file_writer(folder / "a.txt", run_of(0, 1));
  writer->begin();
  Record record = sample_of(0, {0, 1, 2, 1});
  record.text = pieces.decode(record.tokens);
  writer->write({record}, 1);
  writer->finish({1.0, 1, 4, 1, 0.254});
  CHECK(read_file(folder / "a.txt").find("(4 tokens/s, 1 forwards over 25% of the positions)\n") != std::string::npos);
  CHECK(read_file(folder / "a.txt").find("\n the😀\uFFFD\nStats: 6 chars, most common: ' ': 1, 't': 1,") !=
        std::string::npos);
}

TEST_CASE("the index is shown only where it is not the sample's number less one") {
  const TemporaryFolder folder;
  write_one(*make_file_writer(folder / "a.txt", run_of(0, 4)));
  CHECK(read_file(folder / "a.txt").find("\nSAMPLE 1/4\nSelf-confidence: ") != std::string::npos);
}

TEST_CASE("each JSON line is an object of fixed key order that reads back") {
  const TemporaryFolder folder;
  write_file(folder / "a.jsonl", "older\n");
  const auto writer = make_file_writer(folder / "a.jsonl", run_of(0, 2));
  writer->begin();
  Record second = sample_of(1, {2, 6}, -std::numeric_limits<double>::infinity());
  second.identity.prompt_id = "\"x\"";
  second.identity.number = 3;
  writer->write({sample_of(0, {3, 0, 5}, -0.25), second}, 2);
  writer->finish({});
  CHECK(read_file(folder / "a.jsonl") ==
        R"({"demask":"0.1.0","first":0,"samples":2})"
        "\n"
        R"({"index":0,"seed":1337,"text":"a\né","tokens":[3,0,5],"self_confidence":-0.25,"method":"diffusion",)"
        R"("checkpoint":"out/diffusion.pt"})"
        "\n"
        R"({"index":1,"id":"x","sample":3,"seed":1337,"text":"'[MASK]","tokens":[2,6],"self_confidence":null,)"
        R"("method":"diffusion","checkpoint":"out/diffusion.pt"})"
        "\n");
}

TEST_CASE("a checkpoint path that is not UTF-8 does not cost the sample") {
  const TemporaryFolder folder;
  RunDescription run = run_of(0, 1);
  run.checkpoint = "out/\xff.pt";
  write_one(*make_file_writer(folder / "a.jsonl", run));
  CHECK(samples_in(folder / "a.jsonl").at(0)["checkpoint"] == "out/\uFFFD.pt");
}

TEST_CASE("a text file that is not finished leaves the older one untouched and no other file") {
  const TemporaryFolder folder;
  write_file(folder / "a.txt", "older");
  {
    const auto writer = make_file_writer(folder / "a.txt", run_of(0, 1));
    writer->begin();
    writer->write({sample_of(0, {3})}, 1);
    CHECK(read_file(folder / "a.txt") == "older");
    CHECK(names_in(folder.path()) == std::set<std::string>{"a.txt", ".a.txt." + std::to_string(::getpid()) + ".tmp"});
  }
  CHECK(read_file(folder / "a.txt") == "older");
  CHECK(names_in(folder.path()) == std::set<std::string>{"a.txt"});
}

TEST_CASE("a finished text file replaces the older one and keeps its mode") {
  const TemporaryFolder folder;
  write_file(folder / "a.txt", "older");
  REQUIRE(::chmod((folder / "a.txt").c_str(), 0640) == 0);
  write_one(*make_file_writer(folder / "a.txt", run_of(0, 1)));
  CHECK(read_file(folder / "a.txt").rfind("demask 0.1.0\n", 0) == 0);
  CHECK(names_in(folder.path()) == std::set<std::string>{"a.txt"});
  CHECK(std::filesystem::status(folder / "a.txt").permissions() == std::filesystem::perms(0640));
}

TEST_CASE("a symbolic link stays one: what it names is replaced") {
  const TemporaryFolder folder;
  write_file(folder / "a.txt", "older");
  std::filesystem::create_symlink("a.txt", folder / "link.txt");
  write_one(*make_file_writer(folder / "link.txt", run_of(0, 1)));
  CHECK(std::filesystem::is_symlink(folder / "link.txt"));
  CHECK(read_file(folder / "a.txt").rfind("demask 0.1.0\n", 0) == 0);
}

TEST_CASE("a text file that no longer fits is absent") {
  const TemporaryFolder folder;
  const auto write_large = [&folder] {
    const FileSizeLimit limit(1000);
    const auto writer = make_file_writer(folder / "a.txt", run_of(0, 1));
    writer->begin();
    writer->write({sample_of(0, std::vector<int64_t>(2000, 3))}, 1);
  };
  CHECK(failure_of(write_large) == "the output '" + (folder / "a.txt") + "' could not be written: File too large");
  CHECK(names_in(folder.path()).empty());
}

TEST_CASE("JSON lines that no longer fit end with the last whole one") {
  const TemporaryFolder folder;
  const auto write_large = [&folder] {
    const FileSizeLimit limit(1000);
    const auto writer = make_file_writer(folder / "a.jsonl", run_of(0, 2));
    writer->begin();
    writer->write({sample_of(0, {3})}, 1);
    writer->write({sample_of(1, std::vector<int64_t>(2000, 3))}, 2);
  };
  CHECK(failure_of(write_large) == "the output '" + (folder / "a.jsonl") + "' could not be written: File too large");
  CHECK(read_file(folder / "a.jsonl").back() == '\n');
  REQUIRE(samples_in(folder / "a.jsonl").size() == 1);
  CHECK(samples_in(folder / "a.jsonl")[0]["index"] == 0);
}

TEST_CASE("a full device is an error that says so") {
  const auto full = [](const std::string& name) {
    return "the output '" + name + "' could not be written: No space left on device";
  };
  CHECK(failure_of([] { write_one(*make_file_writer("/dev/full", run_of(0, 1))); }) == full("/dev/full"));
  const int descriptor = ::open("/dev/full", O_WRONLY);
  CHECK(failure_of([descriptor] { write_one(*make_text_writer(descriptor, "standard output", run_of(0, 1))); }) ==
        full("standard output"));
  ::close(descriptor);
}

TEST_CASE("an output that cannot be opened fails before sampling, naming path and reason") {
  const TemporaryFolder folder;
  write_file(folder / "file", "");
  std::filesystem::create_directory(folder / "folder.jsonl");
  for (const std::string path :
       {"missing/a.txt", "missing/a.jsonl", "file/a.txt", "folder.jsonl", "folder.jsonl/", ""}) {
    const std::string whole = path.empty() ? path : folder / path;
    const std::string message = failure_of([&whole] { make_file_writer(whole, run_of(0, 1)); });
    INFO(message);
    CHECK(message.rfind("the output '" + whole + "' could not be written: ", 0) == 0);
  }
  CHECK(failure_of([] { make_text_writer(-1, "standard output", run_of(0, 1)); }) ==
        "the output 'standard output' could not be written: Bad file descriptor");
}

TEST_CASE("lines of a list without a known end are in the file as soon as it is their turn, behind what made them") {
  const TemporaryFolder folder;
  const std::string path = folder / "stream.jsonl";
  write_file(path, "an older file, longer than what comes");
  const auto writer = make_json_lines_writer(open_growing_file(path, R"({"demask":"0.1.0"})"), run_of(0, 1));
  writer->begin();
  CHECK(read_file(path) == "{\"demask\":\"0.1.0\"}\n");
  writer->write({sample_of(1, {3}), sample_of(2, {4})}, 0);
  CHECK(read_file(path) == "{\"demask\":\"0.1.0\"}\n");
  writer->write({sample_of(0, {4})}, 2);
  const std::string written = read_file(path);
  CHECK(std::count(written.begin(), written.end(), '\n') == 3);
  CHECK(written.find(R"({"index":0,)") < written.find(R"({"index":1,)"));
  CHECK_THROWS_AS(open_growing_file(path, "{}"), Error);  // another run has it
  writer->finish({});
  CHECK_THAT(read_file(path), !Catch::Matchers::ContainsSubstring(R"({"index":2,)"));
}

}  // namespace
}  // namespace demask
