#include "app/work_list.h"

#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <sstream>
#include <streambuf>
#include <string>
#include <vector>

#include "core/error.h"
#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "tests/support/fuzz_inputs.h"
#include "tests/support/process.h"
#include "tests/unit/app/lists.h"

using namespace demask;
using namespace demask::work_list_test;
using Catch::Matchers::ContainsSubstring;
using demask::testing::bad_input_message;
using demask::testing::TemporaryFolder;
using demask::testing::write_file;

namespace {
// Many equal bytes that are never in memory together, then the rest.
class VeryLongLine : public std::streambuf {
 public:
  VeryLongLine(size_t bytes, std::string rest) : left_(bytes), rest_(std::move(rest)), filler_(4096, 'x') {}

 protected:
  int_type underflow() override {
    if (left_ > 0) {
      const size_t count = std::min(left_, filler_.size());
      left_ -= count;
      setg(filler_.data(), filler_.data(), filler_.data() + count);
    } else if (!rest_given_ && !rest_.empty()) {
      rest_given_ = true;
      setg(rest_.data(), rest_.data(), rest_.data() + rest_.size());
    } else {
      return traits_type::eof();
    }
    return traits_type::to_int_type(*gptr());
  }

 private:
  size_t left_;
  std::string rest_;
  std::string filler_;
  bool rest_given_ = false;
};

// What a disk does that fails midway.
class Failing : public std::streambuf {
 public:
  Failing() { setg(text_.data(), text_.data(), text_.data() + text_.size()); }

 protected:
  int_type underflow() override { throw std::ios_base::failure("lost"); }

 private:
  std::string text_ = "one\ntwo";
};

// Standard input, for as long as this lives.
class Input {
 public:
  explicit Input(const std::string& text) : stream_(text), own_(std::cin.rdbuf(stream_.rdbuf())) { std::cin.clear(); }
  ~Input() {
    std::cin.rdbuf(own_);
    std::cin.clear();
  }
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;

 private:
  std::istringstream stream_;
  std::streambuf* own_;
};

}  // namespace

// ---- text

TEST_CASE("Each line of a text is a prompt whose id is its line number") {
  const PromptList list = read_text("To be\n  or not  \nFILE:x");
  CHECK(start_texts(list) == Texts{"To be", "  or not  ", "FILE:x"});
  for (size_t i = 0; i < 3; ++i) {
    const Prompt& item = list.prompts.at(i);
    CHECK(item.line == static_cast<int64_t>(i) + 1);
    CHECK(item.id == std::to_string(i + 1));
    CHECK_FALSE((item.infill_text || item.num_samples || item.seed || item.max_new_tokens || item.sequence_length));
  }
}

TEST_CASE("An empty line of a text is an empty prompt, and a last newline adds none") {
  CHECK(start_texts(read_text("a\n\nb\n")) == Texts{"a", "", "b"});
  CHECK(start_texts(read_text("a\n\n")) == Texts{"a", ""});
  CHECK(start_texts(read_text("\n")) == Texts{""});
}

TEST_CASE("Line ends of Windows and a byte order mark are no part of a prompt") {
  CHECK(start_texts(read_text("\xEF\xBB\xBFone\r\ntwo\r\n\r\nb\rc\r\r\nlast\r")) ==
        Texts{"one", "two", "", "b\rc\r", "last\r"});
  const PromptList list = read_json("\xEF\xBB\xBF{\"id\": 1, \"start_text\": \"a\"}\r\n\r\n");
  CHECK(start_texts(list) == Texts{"a"});
  CHECK(start_texts(read_text("a\n\xEF\xBB\xBF")) == Texts{"a", "\xEF\xBB\xBF"});  // only at the start it is a mark
}

TEST_CASE("Lines that lie across the reader's pieces come out whole") {
  for (const size_t length : {65534U, 65535U, 65536U, 65537U, 131072U}) {
    for (const std::string end : {"\n", "\r\n"}) {
      const std::string line(length, 'x');
      const PromptList list = read_text(line + end + "b" + end + line);
      CHECK((start_texts(list) == Texts{line, "b", line}));
    }
  }
}

TEST_CASE("What follows an overlong line is read, which itself is never in memory") {
  constexpr size_t bytes = 400000000;
  VeryLongLine source(bytes, "\nnext\n");
  std::istream in(&source);
  const auto peak_kib = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
  };
  const long before = peak_kib();
  const PromptList list = read_work_list(in, "list", false, true);
  CHECK(peak_kib() - before < 16 * 1024);
  CHECK(start_texts(list) == Texts{"next"});
  CHECK(list.prompts[0].id == "2");
  REQUIRE(list.bad_lines.size() == 1);
  CHECK_THAT(list.bad_lines[0].reason, ContainsSubstring(std::to_string(bytes)));
}

TEST_CASE("A bad line is an error that names file, line, reason and what to do, or is left out") {
  const std::string text = "{\"id\": 1, \"start_text\": \"\"}\n{\"id\": 2}\n{\"id\": 3, \"start_text\": \"c\"}\n[\n";
  CHECK(bad_input_message([&] { read_json(text); }) ==
        "list:2: none of start_text, which may be empty, infill_text, infill and tokens: give one of them. Mend it, or "
        "leave "
        "such "
        "lines out with --on_error=skip.");
  const PromptList list = read_json(text, true);
  CHECK(start_texts(list) == Texts{"", "c"});
  REQUIRE(list.bad_lines.size() == 2);
  CHECK(list.bad_lines[0].line == 2);
  CHECK(list.bad_lines[1].line == 4);
}

TEST_CASE("A list without a prompt is refused by name") {
  CHECK_THAT(bad_input_message([] { read_text(""); }), ContainsSubstring("'list' has no prompts"));
  CHECK_THAT(bad_input_message([] { read_text("\xEF\xBB\xBF"); }), ContainsSubstring("has no prompts"));
  CHECK_THAT(bad_input_message([] { read_json("\n \n"); }), ContainsSubstring("has no prompts"));
  const std::string message = bad_input_message([] { read_json("\n{\n[", true); });
  CHECK_THAT(message,
             ContainsSubstring("'list' has no prompts that can be used: 2 of its lines are bad, first line 2: "));
}

TEST_CASE("A list that cannot be read to its end is refused, not cut") {
  Failing source;
  std::istream in(&source);
  CHECK_THAT(bad_input_message([&] { read_work_list(in, "list", false, false); }),
             ContainsSubstring("'list' cannot be read beyond line"));
}

TEST_CASE("A file's ending says how it is read") {
  const TemporaryFolder folder;
  const std::string line = R"({"id": "a", "start_text": "b"})";
  write_file(folder / "p.txt", line);
  write_file(folder / "p.jsonl", line);
  CHECK(start_texts(read_work_list(folder / "p.txt", false)) == Texts{line});
  CHECK(start_texts(read_work_list(folder / "p.jsonl", false)) == Texts{"b"});
  for (const std::string name : {"p.json", "p", "p.TXT", "p.txt.gz", ""}) {
    try {
      read_work_list(name, false);
      FAIL("was accepted");
    } catch (const Error& error) {
      CHECK(error.code() == ExitCode::bad_usage);
      CHECK_THAT(error.what(), ContainsSubstring("'" + name + "'"));
      CHECK_THAT(error.what(), ContainsSubstring(".jsonl"));
    }
  }
}

TEST_CASE("A bad line of a file is named by the file's path") {
  const TemporaryFolder folder;
  write_file(folder / "p.jsonl", "\n{");
  CHECK_THAT(bad_input_message([&] { read_work_list(folder / "p.jsonl", false); }),
             ContainsSubstring((folder / "p.jsonl") + ":2: not valid JSON"));
}

TEST_CASE("A file that is missing, empty or a folder is refused by name") {
  const TemporaryFolder folder;
  write_file(folder / "empty.txt", "");
  std::filesystem::create_directory(folder / "folder.txt");
  const auto message = [&](const std::string& name) {
    return bad_input_message([&] { read_work_list(folder / name, false); });
  };
  CHECK_THAT(message("missing.txt"), ContainsSubstring("not found: '" + (folder / "missing.txt") + "'"));
  CHECK_THAT(message("empty.txt"), ContainsSubstring("empty.txt' has no prompts"));
  CHECK_THAT(message("folder.txt"), ContainsSubstring("folder.txt' is a directory"));
}

TEST_CASE("Standard input is JSON lines where it begins with a brace, else text") {
  const std::string line = R"({"id": "a", "start_text": "b"})";
  const auto from_input = [](const std::string& text) {
    const Input input(text);
    return start_texts(read_work_list("-", false));
  };
  CHECK(from_input(line) == Texts{"b"});
  CHECK(from_input("\n \t\r\n " + line) == Texts{"b"});
  CHECK(from_input("\xEF\xBB\xBF" + line) == Texts{"b"});
  CHECK(from_input("a\n" + line) == Texts{"a", line});
  CHECK(from_input("\n") == Texts{""});
  CHECK_THAT(bad_input_message([&] { from_input(""); }), ContainsSubstring("'standard input' has no prompts"));
  CHECK_THAT(bad_input_message([&] { from_input("{"); }), ContainsSubstring("standard input:1: not valid JSON"));
}

TEST_CASE("Every list of the fuzzers is read or refused") {
  const std::vector<std::string> paths = demask::testing::fuzz_inputs("work_list");
  CHECK(paths.size() >= 3);
  for (const std::string& path : paths) {
    CAPTURE(path);
    const std::string content = demask::testing::read_file(path);  // its first byte chooses the form
    for (const bool is_json : {false, true}) {
      demask::testing::succeeds_or_reports([&] { read(content.substr(1), is_json); });
      demask::testing::succeeds_or_reports([&] {
        std::istringstream in(content.substr(1));
        read_score_list(in, "list", is_json, /*skip_bad=*/false);
      });
    }
  }
}
