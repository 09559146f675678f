#include "output/merge_run_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <glob.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <list>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/json.h"
#include "output/output_file.h"
#include "output/run_file.h"
#include "output/run_lines.h"
#include "output/run_lock.h"

namespace demask {
namespace {

struct ShardFile {
  std::string path;
  Descriptor file;
  nlohmann::ordered_json header;
  std::string header_line;
  int64_t index = 0;
  int64_t count = 1;
  IndexRange whole_run;
  IndexRange range;
};
using ShardFiles = std::list<ShardFile>;  // in the order of their indices

bool exists(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0;
}

// The side file of a run that was killed is matched by many a pattern that matches the run's own file.
bool is_side_file(const std::string& path) {
  const std::string ending = side_path_of("");
  const size_t length = path.size() - std::min(path.size(), ending.size());
  return path.substr(length) == ending && exists(path.substr(0, length));
}

std::vector<std::string> matching_paths(const std::string& pattern) {
  glob_t matches{};
  const int error = ::glob(pattern.c_str(), 0, nullptr, &matches);
  std::vector<std::string> paths(matches.gl_pathv, matches.gl_pathv + matches.gl_pathc);
  ::globfree(&matches);
  if (error != 0 && error != GLOB_NOMATCH) {
    fail(ExitCode::failed, "the files to merge could not be listed: '{}'", pattern);
  }
  paths.erase(std::remove_if(paths.begin(), paths.end(), is_side_file), paths.end());
  if (paths.empty()) {
    fail(ExitCode::bad_input, "no file matches '{}': name the files of all shards, such as 'out/samples-*.jsonl'",
         pattern);
  }
  return paths;
}

// Neither one of the files that are read nor one that a run writes, which would be lost.
void check_loses_nothing(const std::string& output, const std::vector<std::string>& paths) {
  struct stat target {};
  if (::stat(output.c_str(), &target) != 0) {
    return;
  }
  for (const std::string& path : paths) {
    struct stat source {};
    if (::stat(path.c_str(), &source) == 0 && source.st_dev == target.st_dev && source.st_ino == target.st_ino) {
      fail(ExitCode::bad_usage, "the output '{}' is one of the files to merge, '{}': name another --output", output,
           path);
    }
  }
  if (S_ISREG(target.st_mode) && !standard_stream(target)) {
    const Descriptor file(::open(output.c_str(), O_RDONLY | O_CLOEXEC));  // NOLINT(*-vararg)
    if (file.is_open() && !try_lock(file, LOCK_SH)) {
      fail_locked(output);
    }
  }
}

Descriptor open_to_read(const std::string& path) {
  // Not waiting, as opening a pipe would for its other end.
  Descriptor file(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));  // NOLINT(*-vararg)
  if (!file.is_open()) {
    fail_reading(path, last_error());
  }
  struct stat status {};
  if (::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) {
    fail_reading(path, "it is not a regular file");
  }
  return file;
}

int64_t header_number(const nlohmann::ordered_json& members, const char* key, int64_t smallest,
                      const std::string& path) {
  constexpr int64_t largest = int64_t{1} << 61;  // sums of two are still numbers
  const auto member = members.find(key);
  if (member != members.end() && member->is_number_integer()) {
    const auto number = member->get<int64_t>();
    if (number >= smallest && number <= largest) {
      return number;
    }
  }
  fail(ExitCode::bad_input, "{}:1: the header has {} = {}, which should be an integer from {} to {}", path, key,
       member == members.end() ? "nothing" : dump_json(*member), smallest, largest);
}

IndexRange header_range(const nlohmann::ordered_json& members, const std::string& path) {
  return {header_number(members, "first", 0, path), header_number(members, "samples", 0, path)};
}

ShardFile open_shard(const std::string& path) {
  Descriptor file = open_to_read(path);
  if (!try_lock(file, LOCK_SH)) {
    fail(ExitCode::failed, "the file '{}' is being written by a demask run: merge once that has ended", path);
  }
  LineReader reader(file.get(), path);
  std::optional<Header> header = read_header(reader);
  if (!header || !header->ended) {
    fail(ExitCode::bad_input,
         "the file '{}' does not begin with the header of a demask run: if it is that of a run that was interrupted, "
         "run it again with --resume=True to complete it, else leave it out",
         path);
  }
  const IndexRange whole_run = header_range(header->members, path);
  ShardFile shard{path,      std::move(file), std::move(header->members), std::move(header->line), 0, 1,
                  whole_run, whole_run};
  if (const auto place = shard.header.find("shard"); place != shard.header.end()) {
    shard.count = header_number(*place, "count", 1, path);
    shard.index = header_number(*place, "index", 0, path);
    shard.range = header_range(*place, path);
  }
  return shard;
}

ShardFiles open_shards(const std::vector<std::string>& paths) {
  ShardFiles shards;
  for (const std::string& path : paths) {
    shards.push_back(open_shard(path));
  }
  shards.sort([](const ShardFile& a, const ShardFile& b) { return a.index < b.index; });
  return shards;
}

void check_same_run(const ShardFiles& shards, std::set<std::string> not_compared) {
  not_compared.insert("shard");
  const ShardFile& one = shards.front();
  for (const ShardFile& other : shards) {
    if (const auto difference = first_difference(one.header, other.header, not_compared)) {
      fail(ExitCode::bad_input,
           "'{}' and '{}' are not of one run: {} is {} in the former and {} in the latter; name only files of one run",
           one.path, other.path, difference->key, difference->here, difference->there);
    }
    if (other.count != one.count) {
      fail(ExitCode::bad_input,
           "'{}' is one of {} shards and '{}' one of {}: name only files of a run that was divided in one way",
           one.path, one.count, other.path, other.count);
    }
  }
}

// "shard 2 of 8 is", "shards 2 and 5 of 8 are".
std::string named_shards(const std::vector<std::string>& numbers, int64_t unnamed, int64_t count) {
  std::string names = numbers.front();
  for (size_t i = 1; i < numbers.size(); ++i) {
    names += (i + 1 == numbers.size() && unnamed == 0 ? " and " : ", ") + numbers[i];
  }
  if (unnamed > 0) {
    names += fmt::format(" and {} more", unnamed);
  }
  return numbers.size() == 1 && unnamed == 0 ? fmt::format("shard {} of {} is", names, count)
                                             : fmt::format("shards {} of {} are", names, count);
}

void check_every_shard_once(const ShardFiles& shards, const std::string& pattern) {
  constexpr size_t most_named = 20;
  const int64_t count = shards.front().count;
  std::vector<std::string> missing;
  int64_t expected = 0;
  const ShardFile* before = nullptr;
  for (const ShardFile& shard : shards) {
    if (shard.index >= count) {
      fail(ExitCode::bad_input, "{}:1: the header has shard index {} of {} shards, which should be below {}",
           shard.path, shard.index, count, count);
    }
    if (before != nullptr && before->index == shard.index) {
      fail(ExitCode::bad_input, "shard {} of {} is there twice, as '{}' and '{}': leave out one of them", shard.index,
           count, before->path, shard.path);
    }
    for (; expected < shard.index && missing.size() < most_named; ++expected) {
      missing.push_back(std::to_string(expected));
    }
    expected = shard.index + 1;
    before = &shard;
  }
  for (; expected < count && missing.size() < most_named; ++expected) {
    missing.push_back(std::to_string(expected));
  }
  if (!missing.empty()) {
    const int64_t all = count - static_cast<int64_t>(shards.size());
    fail(ExitCode::bad_input, "{} missing among the files that match '{}': run what is missing, or name its file too",
         named_shards(missing, all - static_cast<int64_t>(missing.size()), count), pattern);
  }
}

void check_ranges_join(const ShardFiles& shards) {
  int64_t next = shards.front().whole_run.first;
  for (const ShardFile& shard : shards) {
    if (shard.range.first != next) {
      fail(ExitCode::bad_input, "{}:1: shard {} of {} should begin with sample {}, where the one before ends, not {}",
           shard.path, shard.index, shard.count, next, shard.range.first);
    }
    next = shard.range.end();
  }
  const ShardFile& last = shards.back();
  if (next != last.whole_run.end()) {
    fail(ExitCode::bad_input, "{}:1: the last of {} shards should end before sample {}, as the whole run, not {}",
         last.path, last.count, last.whole_run.end(), next);
  }
}

// Where the lines of a shard are in its file.
struct Extent {
  off_t begin = 0;
  off_t end = 0;
};

Extent extent_of_complete(const ShardFile& shard) {
  LineReader reader(shard.file.get(), shard.path);
  reader.next();
  const off_t begin = reader.offset();
  const WholeLines lines = read_lines(reader, shard.range);
  if (lines.next == shard.range.end() && !lines.torn) {
    return {begin, lines.bytes};
  }
  const std::string side_path = side_path_of(followed(shard.path));
  const size_t waiting = read_side(side_path, shard.header_line, shard.range, lines.next).held.size();
  fail(ExitCode::bad_input,
       "the file '{}' has {} of its {} samples{}{}: run it again with --resume=True to complete it, then merge",
       shard.path, lines.next - shard.range.first, shard.range.count, lines.torn ? " and the beginning of a line" : "",
       waiting > 0 ? fmt::format(", and {} more wait in '{}'", waiting, side_path) : "");
}

void copy(const ShardFile& shard, const Extent& extent, Output& output) {
  std::vector<char> piece(piece_bytes);
  for (off_t offset = extent.begin; offset < extent.end;) {
    const auto wanted = static_cast<size_t>(std::min<off_t>(extent.end - offset, static_cast<off_t>(piece.size())));
    const size_t count = read_at(shard.file.get(), shard.path, piece.data(), wanted, offset);
    if (count == 0) {
      fail_reading(shard.path, "it became shorter while it was merged");
    }
    output.append({piece.data(), count});
    offset += static_cast<off_t>(count);
  }
}

}  // namespace

void merge_run_files(const std::string& pattern, const std::string& output, const std::set<std::string>& not_compared) {
  const std::vector<std::string> paths = matching_paths(pattern);
  check_loses_nothing(output, paths);
  const ShardFiles shards = open_shards(paths);  // locked up to the end, so that what was checked is what is copied
  check_same_run(shards, not_compared);
  check_every_shard_once(shards, pattern);
  check_ranges_join(shards);
  // Before the lines are read, which may take long, so that a path that cannot be written is found first.
  const std::unique_ptr<Output> merged = open_output(output);
  std::vector<Extent> extents;
  for (const ShardFile& shard : shards) {
    extents.push_back(extent_of_complete(shard));
  }
  nlohmann::ordered_json header = shards.front().header;
  header.erase("shard");
  merged->append(dump_json(header) + "\n");
  auto extent = extents.begin();
  for (const ShardFile& shard : shards) {
    copy(shard, *extent++, *merged);
  }
  merged->finish();
}

}  // namespace demask
