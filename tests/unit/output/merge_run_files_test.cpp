#include "output/merge_run_files.h"

#include <sys/stat.h>

#include <string>

#include "tests/support/catch.h"
#include "tests/support/file_size_limit.h"
#include "tests/unit/output/run_files.h"

namespace demask {
namespace run_file_test {
namespace {

using Catch::Matchers::ContainsSubstring;
using testing::FileSizeLimit;

TEST_CASE("shards merge to the file of one run, whatever their names' order") {
  const Divided divided;
  RunFileOptions alone = options_of(divided.folder() / "alone.jsonl", 0);
  alone.header = Divided::whole();
  alone.header["settings"]["output"] = divided.path(0);
  alone.range = {100, 10};
  RunFile file(alone);
  complete(file, alone.range);
  write_file(divided.output(), "older");
  divided.merge();
  CHECK(read_file(divided.output()) == read_file(alone.path));
  CHECK(names_in(divided.folder().path()) ==
        std::set<std::string>{"all.jsonl", "alone.jsonl", "part-7.jsonl", "part-8.jsonl", "part-9.jsonl"});
  merge_run_files(alone.path, divided.folder() / "copy.jsonl", {});
  CHECK(read_file(divided.folder() / "copy.jsonl") == read_file(alone.path));
}

TEST_CASE("shards longer than what is copied at a time merge to all their lines") {
  const Divided divided;
  const std::string text(700000, 'x');
  std::string expected;
  for (const IndexRange& range : {IndexRange{100, 4}, IndexRange{104, 6}}) {
    RunFile file(divided.options(range.first == 100 ? 0 : 2, 3, range));
    for (int64_t index = range.first; index < range.end(); ++index) {
      const std::string line = fmt::format(R"({{"index":{},"text":"{}"}})", index, text);
      file.append(index, line);
      expected += line + "\n";
    }
    file.finish();
  }
  divided.merge();
  const std::string merged = read_file(divided.output());
  CHECK(merged.substr(merged.find('\n') + 1) == expected);
}

TEST_CASE("a pattern that matches nothing is an error that names it") {
  const TemporaryFolder folder;
  CHECK(error_of([&] { merge_run_files(folder / "x*", folder / "out", {}); }) ==
        "bad_input: no file matches '" + (folder / "x*") +
            "': name the files of all shards, such as 'out/samples-*.jsonl'");
}

TEST_CASE("the merged file is none of those it is made of") {
  const Divided divided;
  const std::string content = read_file(divided.path(1));
  fs::create_symlink(divided.path(1), divided.folder() / "link");
  for (const std::string& output : {divided.path(1), divided.folder() / "link"}) {
    CHECK(error_of([&] { merge_run_files(divided.pattern(), output, {}); }) ==
          "bad_usage: the output '" + output + "' is one of the files to merge, '" + divided.path(1) +
              "': name another --output");
  }
  CHECK(read_file(divided.path(1)) == content);
}

TEST_CASE("missing shards are listed") {
  const Divided divided;
  const auto message = [&divided](const std::string& which) {
    return fmt::format(
        "bad_input: {} missing among the files that match '{}': run what is missing, or name its file "
        "too",
        which, divided.pattern());
  };
  fs::remove(divided.path(1));
  CHECK(divided.merge_error() == message("shard 1 of 3 is"));
  fs::remove(divided.path(0));
  CHECK(divided.merge_error() == message("shards 0 and 1 of 3 are"));
  fs::remove(divided.path(2));
  divided.write_shard(1, 5, {100, 0});
  divided.write_shard(3, 5, {100, 0});
  CHECK(divided.merge_error() == message("shards 0, 2 and 4 of 5 are"));
  fs::remove(divided.path(1));
  divided.write_shard(3, 1000000000000, {100, 0});
  CHECK(divided.merge_error() ==
        message("shards 0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20 and 999999999979 more "
                "of 1000000000000 are"));
}

TEST_CASE("a shard that is there twice is named with both files") {
  const Divided divided;
  fs::copy(divided.path(2), divided.folder() / "part-x.jsonl");
  CHECK(divided.merge_error() == "bad_input: shard 2 of 3 is there twice, as '" + divided.path(2) + "' and '" +
                                     (divided.folder() / "part-x.jsonl") + "': leave out one of them");
}

TEST_CASE("files of different runs are not merged: the first key that differs is named with both values") {
  const Divided divided;
  divided.change(2, "\"seed\":1337", "\"seed\":1338");
  CHECK(divided.merge_error() == "bad_input: '" + divided.path(0) + "' and '" + divided.path(2) +
                                     "' are not of one run: seed is 1337 in the former and 1338 in the latter; name "
                                     "only files of one run");
  divided.write_shard(2, 4, {104, 6});
  CHECK(divided.merge_error() == "bad_input: '" + divided.path(0) + "' is one of 3 shards and '" + divided.path(2) +
                                     "' one of 4: name only files of a run that was divided in one way");
}

TEST_CASE("paths may differ between shards") {
  const Divided divided;
  divided.change(2, "out/a.pt", "/elsewhere/a.pt");
  divided.merge();
  CHECK_THAT(read_file(divided.output()), ContainsSubstring("out/a.pt"));
}

TEST_CASE("shards whose ranges leave a gap, overlap or end elsewhere than the run are refused") {
  const Divided divided;
  const auto begins = [&divided](int64_t shard, int64_t wanted, int64_t found) {
    return fmt::format("bad_input: {}:1: shard {} of 3 should begin with sample {}, where the one before ends, not {}",
                       divided.path(shard), shard, wanted, found);
  };
  divided.write_shard(2, 3, {105, 5});
  CHECK(divided.merge_error() == begins(2, 104, 105));
  divided.write_shard(2, 3, {103, 7});
  CHECK(divided.merge_error() == begins(2, 104, 103));
  divided.write_shard(2, 3, {104, 7});
  CHECK(divided.merge_error() == "bad_input: " + divided.path(2) +
                                     ":1: the last of 3 shards should end before sample 110, as the whole run, not "
                                     "111");
  divided.write_shard(2, 3, {104, 6});
  divided.write_shard(0, 3, {99, 5});
  CHECK(divided.merge_error() == begins(0, 100, 99));
}

TEST_CASE("an incomplete shard is named with what it has and how to complete it") {
  const Divided divided;
  const auto has = [&divided](const std::string& what) {
    return "bad_input: the file '" + divided.path(2) + "' has " + what +
           ": run it again with --resume=True to complete it, then merge";
  };
  const RunFileOptions options = divided.options(2, 3, {104, 6});
  { const RunFile file(options); }
  CHECK(divided.merge_error() == has("0 of its 6 samples"));
  {
    RunFile file(options);
    for (const int64_t index : {104, 105, 107, 108}) {
      file.append(index, line_of(index));
    }
  }
  CHECK(divided.merge_error() == has("2 of its 6 samples, and 2 more wait in '" + divided.path(2) + ".pending'"));
  const std::string everything = divided.folder() / "part-*";
  CHECK(error_of([&] { merge_run_files(everything, divided.output(), {"output"}); }) ==
        has("2 of its 6 samples, and 2 more wait in '" + divided.path(2) + ".pending'"));
  const std::string whole = completed(options);
  write_file(divided.path(2), whole.substr(0, whole.size() - 3));
  CHECK(divided.merge_error() == has("5 of its 6 samples and the beginning of a line"));
  write_file(divided.path(2), whole + "{\"in");
  CHECK(divided.merge_error() == has("6 of its 6 samples and the beginning of a line"));
  CHECK(completed(options) == whole);
  divided.merge();
}

TEST_CASE("a shard whose lines are not in order is refused") {
  const Divided divided;
  divided.change(2, "{\"index\":105,", "{\"index\":106,");
  CHECK_THAT(divided.merge_error(), ContainsSubstring("bad_input: " + divided.path(2) +
                                                      ":3: expected a whole line that begins with {\"index\":105,"));
}

TEST_CASE("a file without a header, or with one that cannot be, is refused") {
  const Divided divided;
  for (const std::string content : {"", "text\n", "{\"demask\":\"0.2.0\",\"fir", "{\"demask\":\"0.2.0\"}"}) {
    write_file(divided.path(1), content);
    CHECK(divided.merge_error() ==
          "bad_input: the file '" + divided.path(1) +
              "' does not begin with the header of a demask run: if it is that of a run that was interrupted, run it "
              "again with --resume=True to complete it, else leave it out");
  }
  const auto has = [&divided](const std::string& what, int smallest) {
    return fmt::format("bad_input: {}:1: the header has {}, which should be an integer from {} to 2305843009213693952",
                       divided.path(1), what, smallest);
  };
  const auto message = [&divided](const std::string& before, const std::string& after) {
    divided.write_shard(1, 3, {104, 0});
    divided.change(1, before, after);
    return divided.merge_error();
  };
  CHECK(message("\"first\":100", "\"first\":-1") == has("first = -1", 0));
  CHECK(message("\"samples\":10", "\"samples\":9223372036854775807") == has("samples = 9223372036854775807", 0));
  CHECK(message("\"samples\":10", "\"samples\":18446744073709551615") == has("samples = 18446744073709551615", 0));
  CHECK(message("\"samples\":10,", "") == has("samples = nothing", 0));
  CHECK(message("\"count\":3", "\"count\":0") == has("count = 0", 1));
  CHECK(message("{\"index\":1,\"count\":3,\"first\":104,\"samples\":0}", "7") == has("count = nothing", 1));
  CHECK(message("\"index\":1,", "\"index\":3,") ==
        "bad_input: " + divided.path(1) + ":1: the header has shard index 3 of 3 shards, which should be below 3");
}

TEST_CASE("what is matched but no file is refused") {
  const Divided divided;
  fs::create_directory(divided.folder() / "part-x.jsonl");
  CHECK(divided.merge_error() ==
        "bad_input: the file '" + (divided.folder() / "part-x.jsonl") + "' cannot be read: it is not a regular file");
}

TEST_CASE("a merge that finds no room leaves the older file") {
  const Divided divided;
  write_file(divided.output(), "older");
  CHECK(error_of([&divided] {
          const FileSizeLimit limit(400);
          divided.merge();
        }) == "failed: the output '" + divided.output() + "' could not be written: File too large");
  CHECK(read_file(divided.output()) == "older");
  CHECK(names_in(divided.folder().path()) ==
        std::set<std::string>{"all.jsonl", "part-7.jsonl", "part-8.jsonl", "part-9.jsonl"});
  CHECK(error_of([&divided] { merge_run_files(divided.pattern(), "/dev/full", {"output"}); }) ==
        "failed: the output '/dev/full' could not be written: No space left on device");
}

}  // namespace
}  // namespace run_file_test
}  // namespace demask
